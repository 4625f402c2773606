"""The units of systemd that production mounts say what the programs do."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from worker.cli import cli
from worker.settings import WorkerSettings
from worker.supervisor.endings import BY_CODE, Ending
from worker.supervisor.start import LAST_WORDS

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
PROGRAM = "/srv/packshot/current/bin/packshot-worker"

every_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


def said(unit: Path, key: str) -> str:
    (value,) = re.findall(rf"^{key}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)
    return str(value)


def test_there_is_a_unit_for_the_host_and_one_for_a_card() -> None:
    assert [unit.name for unit in UNITS] == [
        "packshot-supervisor.service",
        "packshot-worker@.service",
    ]


@every_unit
def test_systemd_finds_nothing_wrong(unit: Path, tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd-analyze here (Debian's package systemd has it)")
    here = tmp_path / unit.name.replace("@", "@0")
    here.write_text(unit.read_text("utf-8").replace(PROGRAM, "/bin/true"), "utf-8")

    done = subprocess.run(
        [tool, "verify", "--man=no", here], capture_output=True, text=True, check=False
    )

    ours = [line for line in done.stderr.splitlines() if "packshot" in line]
    assert (done.returncode, ours) == (0, [])


@every_unit
def test_a_unit_starts_what_there_is(unit: Path) -> None:
    program, name, *options = shlex.split(said(unit, "ExecStart").replace("%i", "0"))

    context = click.Context(cli)
    command = cli.get_command(context, name)

    assert program == PROGRAM
    assert command is not None
    command.make_context(name, options, parent=context)


@every_unit
def test_a_unit_waits_for_a_drain_and_asks_the_main_process_alone(unit: Path) -> None:
    drain = WorkerSettings.model_fields["drain_seconds"].default

    assert float(said(unit, "TimeoutStopSec").rstrip("s")) >= drain + LAST_WORDS
    assert (said(unit, "KillMode"), said(unit, "KillSignal")) == ("mixed", "SIGTERM")


@every_unit
def test_what_no_start_helps_is_not_tried_again_and_an_outage_is_for_ever(unit: Path) -> None:
    hopeless = {code for code, (ending, _) in BY_CODE.items() if ending is Ending.SETTINGS}
    assert said(unit, "RestartPreventExitStatus").split() == [str(one) for one in sorted(hopeless)]
    assert said(unit, "Restart") == "on-failure"
    assert said(unit, "StartLimitIntervalSec") == "0"
