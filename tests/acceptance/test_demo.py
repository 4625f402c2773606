"""``packshot demo`` leaves a contact sheet, a page and a list of jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from standalone.settings import child_environment

pytestmark = pytest.mark.acceptance


def test_the_demo_edits_samples_and_the_callers_photograph(tmp_path: Path) -> None:
    photo = tmp_path / "mine.jpg"
    Image.new("RGB", (160, 160), "orange").save(photo)

    done = subprocess.run(
        [sys.executable, "-m", "producer", "demo", str(photo), "--count", "2", "-o", str(tmp_path)],
        env=child_environment({}),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    jobs = json.loads((tmp_path / "jobs.json").read_text())
    assert [job["state"] for job in jobs] == ["succeeded"] * 4
    assert "mine" in {job["name"] for job in jobs}
    assert "把背景换成白色" in (tmp_path / "index.html").read_text()
    with Image.open(tmp_path / "contact-sheet.png") as sheet:
        assert min(sheet.size) > 500
    assert str(tmp_path / "index.html") in done.stdout.replace("\n", "")
    assert not (tmp_path / "system").exists()


def test_a_photograph_that_is_none_is_named_before_anything_starts(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("not a picture")

    done = subprocess.run(
        [sys.executable, "-m", "producer", "demo", str(bad), "-o", str(tmp_path / "out")],
        env=child_environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert "bad.jpg" in done.stderr
    assert "Traceback" not in done.stderr
