"""Two releases on one host, a worker per card started by its launcher, judged by its attempts.

The releases' applications are this project's code, on the Python of the tests; their engine is the
fake one.  Ledger, queue and bucket are real servers.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from envpack.node import canary
from envpack.node.activate import activate
from envpack.node.host import Host
from jobs.connect import Services, connect
from jobs.model import Job
from jobs.settings import ProducerSettings
from jobs.states import JobState
from producer import Client, Edit, Picture
from standalone.settings import child_environment
from tests.envpack_depot import Content, TestDepot
from tests.services import eventually, fresh_database
from tests.unit.envpack.node.scenes import unpacked, with_files
from tests.unit.producer.shop import photo

PROJECT = Path(__file__).parents[3]
#: Says where it is when it is checked; else it is the Python of these tests.
PYTHON = f"""#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
case "$*" in *importlib*) echo "[\\"$here\\", {{}}]" ;; *) exec {sys.executable} "$@" ;; esac
"""
STARTED = timedelta(seconds=60)
DONE = timedelta(seconds=60)
ROUNDS = 10  # at most; half of what the canary takes fails, so that one or two will do
EDITS = ("make it red", "make it red [memory]") * 10


def application() -> Content:
    """The code of workers and of clients, as it stands here."""
    files = {
        path.relative_to(PROJECT).as_posix(): (path.read_bytes(), 0o644)
        for package in ("jobs", "producer", "worker")
        for path in (PROJECT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return Content(files=files)


@dataclass
class Floor:
    """One host with two cards."""

    host: Host
    settings: dict[str, str]
    services: Services
    client: Client
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, card: str) -> None:
        """The worker of a card, as a unit of systemd starts it: from ``current``, ready."""
        self.stop(card)
        log = self.host.root / f"{card}.log"
        with log.open("wb") as output:
            self.workers[card] = subprocess.Popen(
                [self._program("packshot-worker"), "run", "--card", card],
                stdout=output, stderr=subprocess.STDOUT, **self._alone(),
            )  # fmt: skip

        def is_ready() -> bool:
            assert self.workers[card].poll() is None, log.read_text()
            return "worker_ready" in log.read_text()

        eventually(is_ready, within=STARTED)

    def stop(self, card: str) -> None:
        if worker := self.workers.pop(card, None):
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=DONE.total_seconds()) == 0

    def releases(self) -> dict[str, str | None]:
        """Card → release, of the workers that the ledger knows."""
        return {one.card: one.release for one in self.services.ledger.live_workers()}

    def runs_from(self, card: str) -> str:
        """The application's folder that a card's worker imports from."""
        environment = Path(f"/proc/{self.workers[card].pid}/environ").read_bytes().split(b"\0")
        (path,) = (one for one in environment if one.startswith(b"PYTHONPATH="))
        return path.partition(b"=")[2].decode()

    def edited(self, instructions: Sequence[str], salt: str) -> list[Job]:
        """Jobs that have ended; a failure is not tried again."""
        picture = Picture(name="mug.png", data=photo())
        jobs = [
            self.client.submit(
                Edit(pictures=[picture], instruction=one, salt=f"{salt}-{number}", max_failures=1)
            )
            for number, one in enumerate(instructions)
        ]
        return [self.client.wait(job.id, timeout=DONE) for job in jobs]

    def judged(self, baseline: str) -> dict[str, Any]:
        """What ``packshot report … | packshot-env judge -`` says."""
        words = ["report", "--by", "release", "--baseline", baseline, "--json"]
        report = subprocess.run(
            [self._program("packshot"), *words], capture_output=True, check=True, **self._alone()
        ).stdout
        words = ["judge", "-", "--baseline", baseline, "--no-golden", "--json"]
        judge = [sys.executable, "-m", "envpack", *words]
        ended = subprocess.run(judge, input=report, capture_output=True, check=False, cwd=PROJECT)
        found: dict[str, Any] = json.loads(ended.stdout)
        return {**found, "exit_code": ended.returncode}

    def _program(self, name: str) -> str:
        return str(self.host.root / "current/bin" / name)

    def _alone(self) -> dict[str, Any]:
        return {"cwd": "/", "env": child_environment(self.settings)}


@pytest.fixture
def floor(tmp_path: Path, postgres_url: str, redis_url: str, s3_url: str) -> Iterator[Floor]:
    with fresh_database(postgres_url) as database_url:
        settings = {
            "PACKSHOT_DATABASE_URL": database_url,
            "PACKSHOT_REDIS_URL": redis_url,
            "PACKSHOT_S3_URL": s3_url,
            "PACKSHOT_MODEL": "fake",
            "PACKSHOT_ENGINE": "fake",
            "PACKSHOT_FAKE_STEP_SECONDS": "0.02",  # so that no card takes all
        }
        file = tmp_path / "packshot.env"
        file.write_text("\n".join(f"{name}={value}" for name, value in settings.items()))
        services = connect(ProducerSettings.load(file))
        services.init()
        client = Client(
            ledger=services.ledger,
            artifacts=services.artifacts,
            dispatcher=services.dispatcher,
            model="fake",
        )
        floor = Floor(Host(tmp_path / "root"), settings, services, client)
        try:
            yield floor
        finally:
            for worker in floor.workers.values():
                worker.kill()
                worker.wait()
            client.close()
            services.close()


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
    app = depot.layer("app", with_files(application(), **settings))
    release = depot.release(2, env=floor.host.release(good).env, app=app)
    return unpacked(floor.host, depot, release).release.digest


@pytest.fixture
def depot(tmp_path: Path) -> TestDepot:
    return TestDepot(tmp_path / "depot")


def test_a_canary_whose_attempts_fail_is_rolled_back(floor: Floor, good: str, bad: str) -> None:
    host = floor.host
    apps = {one: str(host.layer("app", host.release(one).app)) for one in (good, bad)}

    canary.set_to(host, bad, ["cpu:1"])
    for card in ("cpu:0", "cpu:1"):
        floor.start(card)
    assert floor.releases() == {"cpu:0": good, "cpu:1": bad}
    assert (floor.runs_from("cpu:0"), floor.runs_from("cpu:1")) == (apps[good], apps[bad])

    said = judged_while_they_work(floor, good)
    findings = {one["name"]: one["finding"] for one in said["checks"]}
    assert (said["verdict"], said["canary"], said["baseline"]) == ("roll back", bad, good)
    assert findings["errors"] == findings["out of memory"] == "bad"

    canary.clear(host)
    floor.start("cpu:1")
    assert floor.releases() == {"cpu:0": good, "cpu:1": good}
    assert floor.runs_from("cpu:1") == apps[good]
    after = floor.edited(EDITS, "after")
    assert {job.state for job in after} == {JobState.SUCCEEDED}


def judged_while_they_work(floor: Floor, baseline: str) -> dict[str, Any]:
    """The last word after some rounds: until it is not to wait."""
    for number in range(ROUNDS):
        floor.edited(EDITS, f"round {number}")
        if (said := floor.judged(baseline))["exit_code"] != 20:
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
