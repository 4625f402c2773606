"""The doctor as a whole, and as a command."""

from __future__ import annotations

import json
import subprocess
import sys

from standalone.settings import child_environment
from tests.integration.worker.doctor_site import FINE, rows_of, site_of, verdicts
from worker.doctor.findings import exit_code, show
from worker.doctor.table import CHECKS, look


def test_nothing_is_wrong_with_servers_that_are_well(ready: dict[str, str]) -> None:
    rows = rows_of(ready)

    found = verdicts(rows)
    assert [*found] == [check.name for check in CHECKS]
    assert {name for name, verdict in found.items() if verdict is not FINE} == {
        "card",
        "model",
        "compiler",
        "engine",
    }
    assert exit_code([*rows.values()]) == 0


def test_the_probe_leaves_nothing_in_the_bucket(ready: dict[str, str]) -> None:
    with site_of(ready) as site:
        look(site)

        assert [*site.services.artifacts.keys("doctor/")] == []


def told(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", "doctor", *options],
        env=child_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_lines_or_json_and_says_by_its_code(ready: dict[str, str]) -> None:
    environment = {f"PACKSHOT_{name.upper()}": value for name, value in ready.items()}
    environment |= {"PACKSHOT_ENGINE": "fake"}

    lines, listed = told(environment, "--deep"), told(environment, "--json")
    without_settings = told({})

    assert (lines.returncode, listed.returncode, without_settings.returncode) == (0, 0, 3)
    assert "engine\tfine\tfake fake-1 on cpu:0" in lines.stdout
    assert json.loads(listed.stdout)[0] == {
        "check": "settings",
        "verdict": "fine",
        "found": "complete",
        "to_do": "",
    }
    assert "PACKSHOT_DATABASE_URL is not set" in without_settings.stdout


def test_a_look_at_the_surface_loads_no_torch() -> None:
    probe = "import worker.doctor.table, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "False"


def test_a_check_is_a_line(ready: dict[str, str]) -> None:
    rows = [*rows_of(ready).values()]

    assert len(show(rows, as_json=False).splitlines()) == len(CHECKS)
