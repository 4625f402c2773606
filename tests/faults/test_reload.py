"""A change of environment under load: one card at a time, no job lost or counted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.states import JobState
from tests.faults.scene import Scene
from tests.faults.supervised import READY, Supervised, supervised
from tests.services import eventually

SOON = timedelta(seconds=90)
CARDS = ("cpu:0", "cpu:1")
BROKEN = "echo 'packshot-worker: no module named torch' >&2\nexit 3"


class Environments:
    """Unpacked environments side by side, and the link to the one that is current."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.current = root / "current"

    def unpack(self, name: str, script: str = "") -> Path:
        folder = self.root / name
        (folder / "bin").mkdir(parents=True)
        program = folder / "bin" / "packshot-worker"
        works = f'export PACKSHOT_RELEASE={name}\nexec "{sys.executable}" -m worker "$@"'
        program.write_text(f"#!/bin/sh\n{script or works}\n")
        program.chmod(0o755)
        return folder

    def activate(self, name: str) -> None:
        link = self.root / "next"
        link.symlink_to(name)
        link.replace(self.current)


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    made = Environments(tmp_path)
    made.unpack("old")
    made.activate("old")
    return made


@pytest.fixture
def host(scene: Scene, environments: Environments) -> Iterator[Supervised]:
    arguments = ("--cards", ",".join(CARDS), "--env", str(environments.current))
    with supervised(scene, *arguments, fake_step_seconds=0.1) as host:
        host.eventually_ready()
        yield host


def started_from(host: Supervised) -> list[str]:
    return [Path(card["environment"]).name for card in host.cards().values()]


def reloaded(host: Supervised, *outcomes: str) -> list[int]:
    """Reload; how many cards were not ready, look by look, until that was its outcome."""
    looks: list[int] = []

    def over() -> bool:
        status = host.status()
        looks.append(sum(not card["ready"] for card in status["cards"]))
        return status["roll"] is not None and status["roll"]["outcome"] in outcomes

    host.signal(signal.SIGHUP)
    eventually(over, within=SOON)
    return looks


def test_a_reload_takes_one_card_after_the_other_and_costs_no_job_anything(
    scene: Scene, environments: Environments, host: Supervised
) -> None:
    jobs = [scene.submit(f"under load {number}") for number in range(80)]
    environments.unpack("new")
    environments.activate("new")
    before = started_from(host)

    looks = reloaded(host, "done", "stopped")
    jobs.append(scene.submit("after it"))  # a slow machine has done the others by now
    done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)

    assert host.status()["roll"] == {"outcome": "done", "why": "", "done": [*CARDS]}
    assert (set(before), set(started_from(host))) == ({"old"}, {"new"})
    assert max(looks) == 1
    assert {(job.state, job.failures) for job in done} == {(JobState.SUCCEEDED, 0)}
    assert {job.release for job in done} == {"old", "new"}


def test_a_reload_stops_at_a_card_that_does_not_become_ready_and_one_back_heals_it(
    scene: Scene, environments: Environments, host: Supervised
) -> None:
    environments.unpack("broken", BROKEN)
    environments.activate("broken")

    looks = reloaded(host, "stopped")
    job = scene.client.wait(scene.submit("the others work").id, timeout=SOON)

    roll, cards = host.status()["roll"], host.cards()
    assert roll["why"].startswith("cpu:0: its settings are wrong (exit code 3)")
    assert roll["why"].endswith("no module named torch")
    assert max(looks) == 1
    assert [cards[name]["ready"] for name in CARDS] == [False, True]
    assert job.state is JobState.SUCCEEDED
    assert "packshot_roll_stopped 1.0" in host.metrics()

    environments.activate("old")
    host.signal(signal.SIGHUP)
    host.eventually_ready()
    assert set(started_from(host)) == {"old"}


def test_a_sigterm_during_a_reload_ends_everything(host: Supervised) -> None:
    host.signal(signal.SIGHUP)
    eventually(lambda: host.says("roll_started") > 0)

    host.signal(signal.SIGTERM)

    assert host.process.wait(timeout=READY.total_seconds()) == 0
