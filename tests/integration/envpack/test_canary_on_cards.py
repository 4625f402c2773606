"""Two releases on one host: a worker per card, started by their launchers, judged by its jobs."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from envpack.node import canary
from envpack.node.activate import activate
from envpack.node.host import Host
from jobs.states import JobState
from tests.envpack_depot import Content, TestDepot
from tests.faults.supervised import READY, Supervised
from tests.integration.envpack.floor import PYTHON, WAIT, Floor, application, runs_from
from tests.scene import opened
from tests.services import eventually
from tests.unit.envpack.node.scenes import unpacked, with_files

ROUNDS = 10  # at most; half of what the canary takes fails, so that one or two will do
#: In pairs: two cards in step take every other job, and each shall meet both kinds.
EDITS = ("make it red", "make it red", "make it red [memory]", "make it red [memory]") * 5
CARDS: Final = ("cpu:0", "cpu:1")


@pytest.fixture
def floor(tmp_path: Path, postgres_url: str, redis_url: str, s3_url: str) -> Iterator[Floor]:
    servers = {
        "PACKSHOT_DATABASE_URL": postgres_url,
        "PACKSHOT_REDIS_URL": redis_url,
        "PACKSHOT_S3_URL": s3_url,
        "PACKSHOT_FAKE_STEP_SECONDS": "0.02",  # so that no card takes all
    }
    with opened(servers, tmp_path, partial(Floor, host=Host(tmp_path / "root"))) as floor:
        yield floor


@pytest.fixture
def depot(tmp_path: Path) -> TestDepot:
    return TestDepot(tmp_path / "depot")


@pytest.fixture
def good(floor: Floor, depot: TestDepot) -> str:
    """The release that is current."""
    env = depot.layer("env", Content(files={"bin/python": (PYTHON.encode(), 0o755)}))
    app = depot.layer("app", application())
    return activate(
        floor.host, unpacked(floor.host, depot, depot.release(1, env=env, app=app)).release.digest
    ).release.digest


@pytest.fixture
def bad(floor: Floor, depot: TestDepot, good: str) -> str:
    """Beside it: by its own settings, some instructions take more memory than its card has."""
    settings = {"settings.env": b"PACKSHOT_FAKE_FAULTS=true\n"}
    return another(floor, depot, good, 2, with_files(application(), **settings))


def another(floor: Floor, depot: TestDepot, like: str, counter: int, app: Content) -> str:
    """A release with the environment of one that is there."""
    env = floor.host.release(like).env
    release = depot.release(counter, env=env, app=depot.layer("app", app))
    return unpacked(floor.host, depot, release).release.digest


def apps_of(host: Host, *releases: str) -> list[str]:
    return [str(host.layer("app", host.release(one).app)) for one in releases]


def test_a_canary_whose_attempts_fail_is_rolled_back(floor: Floor, good: str, bad: str) -> None:
    host = floor.host
    canary.set_to(host, bad, ["cpu:1"])
    for card in CARDS:
        floor.start(card)
    assert floor.releases() == {"cpu:0": good, "cpu:1": bad}
    running = [runs_from(floor.on_cards[card].process.pid) for card in CARDS]
    assert running == apps_of(host, good, bad)

    said = judged_while_they_work(floor, good)
    findings = {one["name"]: one["finding"] for one in said["checks"]}
    assert (said["verdict"], said["canary"], said["baseline"]) == ("roll back", bad, good)
    assert findings["errors"] == findings["out of memory"] == "bad"

    canary.clear(host)
    floor.start("cpu:1")
    assert floor.releases() == {"cpu:0": good, "cpu:1": good}
    assert [runs_from(floor.on_cards["cpu:1"].process.pid)] == apps_of(host, good)
    after = floor.edited(EDITS, "after")
    assert {job.state for job in after} == {JobState.SUCCEEDED}


def judged_while_they_work(floor: Floor, baseline: str) -> dict[str, Any]:
    """The last word after some rounds: until it is not to wait."""
    for number in range(ROUNDS):
        floor.edited(EDITS, f"round {number}")
        if (said := floor.judged(baseline))["exit_code"] != WAIT:
            return said
    pytest.fail(f"undecided after {ROUNDS} rounds")


@pytest.mark.usefixtures("good")
def test_a_worker_that_runs_stays_with_its_release(floor: Floor, bad: str) -> None:
    floor.start("cpu:1")
    canary.set_to(floor.host, bad, ["cpu:1"])
    assert floor.edited(["make it red [memory]"], "before")[0].state is JobState.SUCCEEDED

    floor.start("cpu:1")

    assert floor.releases() == {"cpu:1": bad}
    assert floor.edited(["make it red [memory]"], "after")[0].state is JobState.FAILED
    (newest, _) = floor.services.ledger.ended(within=timedelta(hours=1))
    assert (newest.release, newest.card) == (bad, "cpu:1")


def test_a_supervisor_starts_the_cards_of_a_canary_from_its_release_and_rolls_them_back(
    floor: Floor, good: str, bad: str
) -> None:
    floor.envpack("canary", "set", bad, "--cards", "cpu:0")
    with floor.supervised(*CARDS) as supervisor:
        supervisor.eventually_ready()
        assert releases_of(supervisor) == floor.releases() == {"cpu:0": bad, "cpu:1": good}
        assert [runs_from(pid) for pid in supervisor.pids()] == apps_of(floor.host, bad, good)
        assert f'packshot_card_release{{card="cpu:0",release="{bad}"}} 1.0' in supervisor.metrics()

        said = judged_while_they_work(floor, good)
        ended = floor.services.ledger.ended(within=timedelta(hours=1))
        reported = {one["release"]: one for one in floor.report(good)["releases"]}
        assert {(one.card, one.release) for one in ended} == {("cpu:0", bad), ("cpu:1", good)}
        assert {one: (reported[one]["attempts"] > 0) for one in (good, bad)} == {
            good: True,
            bad: True,
        }
        assert (reported[good]["out_of_memory"], reported[bad]["out_of_memory"] > 0) == (0, True)
        assert (said["verdict"], said["canary"]) == ("roll back", bad)

        floor.envpack("canary", "clear")
        rolled(supervisor, floor, {"cpu:0": good, "cpu:1": good})
        after = floor.edited(EDITS, "after")
        assert {job.state for job in after} == {JobState.SUCCEEDED}


def test_a_supervisor_takes_the_cards_to_a_new_release_and_back(
    floor: Floor, depot: TestDepot, good: str
) -> None:
    new = another(floor, depot, good, 2, with_files(application(), worker__new=b"1"))
    with floor.supervised(*CARDS) as supervisor:
        supervisor.eventually_ready()

        floor.envpack("canary", "set", new, "--cards", "cpu:0")
        rolled(supervisor, floor, {"cpu:0": new, "cpu:1": good})
        floor.envpack("activate", new)
        floor.envpack("canary", "clear")
        rolled(supervisor, floor, {"cpu:0": new, "cpu:1": new})
        floor.envpack("rollback")
        rolled(supervisor, floor, {"cpu:0": good, "cpu:1": good})


def rolled(supervisor: Supervised, floor: Floor, expected: Mapping[str, str]) -> None:
    """After SIGHUP and under load, with one card working at any moment and no job hurt."""
    before = dict(zip(CARDS, supervisor.pids(), strict=True))
    jobs = [floor.submit(f"under load {before} {number}") for number in range(60)]
    working: list[int] = []

    def is_done() -> bool:
        status = supervisor.status()
        working.append(sum(card["state"] == "working" for card in status["cards"]))
        is_anew = all(card["pid"] not in {None, before[card["card"]]} for card in status["cards"])
        return is_anew and status["roll"]["outcome"] in {"done", "stopped"}

    supervisor.signal(signal.SIGHUP)
    eventually(is_done, within=2 * READY)

    assert supervisor.status()["roll"] == {"outcome": "done", "why": "", "done": [*CARDS]}
    assert min(working) == 1
    assert releases_of(supervisor) == floor.releases() == expected
    ended = floor.client.wait_all([job.id for job in jobs], timeout=READY)
    assert {(job.state, job.failures) for job in ended} == {(JobState.SUCCEEDED, 0)}


def releases_of(supervisor: Supervised) -> dict[str, str]:
    return {name: card["release"] for name, card in supervisor.cards().items()}


@pytest.mark.usefixtures("good")
def test_a_release_runs_its_own_code_wherever_it_is_started(floor: Floor, tmp_path: Path) -> None:
    elsewhere = tmp_path / "checkout"
    (elsewhere / "worker").mkdir(parents=True)
    for name in ("__init__.py", "__main__.py"):
        (elsewhere / "worker" / name).write_text("raise SystemExit('the code of a checkout')\n")

    program = floor.host.root / "current/bin/packshot-worker"
    said = subprocess.run(
        [program, "--help"], cwd=elsewhere, capture_output=True, text=True, check=False
    )

    assert (said.returncode, said.stderr) == (0, "")
