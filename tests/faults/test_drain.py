"""The end of a worker: bounded, and no job pays for it."""

from __future__ import annotations

import ctypes
import signal
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.states import JobState
from standalone.settings import child_environment
from tests.faults.proxy import Mode, Proxy
from tests.faults.scene import Scene
from tests.scene import OURS
from tests.services import eventually

SOON = timedelta(seconds=60)


def test_a_drain_s_time_limit_gives_the_jobs_back_uncounted(scene: Scene) -> None:
    scene.environment["PACKSHOT_DRAIN_SECONDS"] = "0.5"
    worker = scene.worker(steps=200, step_seconds=0.1)
    job = scene.submit("too long for you")
    scene.eventually_running(job.id)

    worker.signal(signal.SIGTERM)
    code = worker.process.wait(timeout=15)

    job = scene.client.status(job.id)
    assert code == 0
    assert (job.state, job.attempt, job.failures) == (JobState.QUEUED, 1, 0)


def test_a_drain_while_jobs_pour_in_loses_no_claim(scene: Scene) -> None:
    """A claim may be on its way when the gate closes."""
    workers = [scene.worker(steps=2) for _ in range(2)]
    ids = [scene.submit(f"one of many {one}").id for one in range(60)]
    eventually(lambda: scene.client.status(ids[5]).state is JobState.SUCCEEDED, within=SOON)

    workers[0].signal(signal.SIGTERM)
    code = workers[0].process.wait(timeout=30)
    done = scene.client.wait_all(ids, timeout=SOON)

    assert code == 0
    assert {(job.state, job.failures) for job in done} == {(JobState.SUCCEEDED, 0)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_ends_at_once(scene: Scene, number: signal.Signals) -> None:
    worker = scene.worker()
    worker.signal(number)
    code = worker.process.wait(timeout=60)  # there is nobody to wait for, and the limit is 120

    assert code == 0
    assert scene.services.ledger.live_workers() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_still_starts_ends_at_once(scene: Scene, number: signal.Signals) -> None:
    with Proxy(scene.servers.postgres.port) as proxy:
        proxy.mode = Mode.BLACKHOLE  # so that it starts for as long as we need
        there = proxy.url(scene.environment["PACKSHOT_DATABASE_URL"])
        process = subprocess.Popen(
            [*OURS, "run"],
            env=child_environment({**scene.environment, "PACKSHOT_DATABASE_URL": there}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert "worker_starting" in process.stdout.readline()

        process.send_signal(number)
        _, said = process.communicate(timeout=60)

    assert (process.returncode, said) == (0, "")


def test_a_signal_that_another_thread_was_given_is_heard(scene: Scene) -> None:
    """The kernel chooses the thread; Python's handlers run in the first one alone."""
    process = scene.worker().process
    others = [int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir()]
    others.remove(process.pid)

    ctypes.CDLL(None).tgkill(process.pid, others[0], int(signal.SIGTERM))

    assert process.wait(timeout=30) == 0
