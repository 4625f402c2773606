"""What ``up`` writes for others to read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from standalone.system import env_file_text


@pytest.mark.parametrize(
    "value",
    [
        "http://key:secret@127.0.0.1:8333/packshot",
        "/srv/two words/$models #1/50%;(a)*",
        "/srv/it's/two words",
        '/srv/a"b',
        "/srv/製品",
        "",
    ],
)
def test_a_value_is_the_same_to_settings_and_to_a_shell(tmp_path: Path, value: str) -> None:
    path = tmp_path / "packshot.env"
    path.write_text(env_file_text({"PACKSHOT_ONE": value, "PACKSHOT_TWO": "2"}))

    command = f'. {path}; printf "%s|%s" "$PACKSHOT_ONE" "$PACKSHOT_TWO"'
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)

    assert dotenv_values(path) == {"PACKSHOT_ONE": value, "PACKSHOT_TWO": "2"}
    assert said.stdout == f"{value}|2"
