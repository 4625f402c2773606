"""A worker that dies at the worst moments, is stopped while it ticks, or has a wrong clock."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.errors import FailureClass
from jobs.states import JobState
from standalone.settings import child_environment
from tests.chaos import skew
from tests.faults.scene import SHORT_LEASE, Scene, Worker
from tests.faults.standstill import freeze
from tests.services import eventually

SOON = timedelta(seconds=60)
ROOT = Path(__file__).parents[2]


def worker_that_dies(scene: Scene, point: str) -> Worker:
    log = scene.folder / f"dies-at-{point}.log"
    settings = {
        **scene.environment,
        "PACKSHOT_ENGINE": "fake",
        "PACKSHOT_LEASE_SECONDS": str(SHORT_LEASE.total_seconds()),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.crash_points", point],
            cwd=ROOT,
            env=child_environment(settings),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    worker = Worker(process, log)
    scene.workers.append(worker)
    return worker


def test_a_worker_that_dies_between_upload_and_commit_announces_nothing(scene: Scene) -> None:
    """Case 3: its object stays an orphan; the next attempt's is the one that is announced."""
    job = scene.submit("once")
    victim = worker_that_dies(scene, "upload")
    assert victim.process.wait(timeout=60) == -signal.SIGKILL
    orphans = scene.outputs(job)
    between = scene.client.status(job.id)
    scene.worker()

    done = scene.client.wait(job.id, timeout=SOON)

    assert (between.state, between.result) == (JobState.RUNNING, None)
    assert len(orphans) == 1
    assert (done.state, done.attempt, done.failures) == (JobState.SUCCEEDED, 2, 1)
    assert done.result is not None
    assert done.result.key not in orphans
    assert len(scene.outputs(job)) == 2
    assert scene.client.result(job.id)


def test_a_worker_that_dies_between_commit_and_answer_changes_nothing_any_more(
    scene: Scene,
) -> None:
    """Case 4: the message is delivered again, and ends at the claim."""
    job = scene.submit("once")
    victim = worker_that_dies(scene, "commit")
    assert victim.process.wait(timeout=60) == -signal.SIGKILL
    first = scene.client.status(job.id)
    dispatcher = scene.services.dispatcher
    dispatcher.dispatch(first.queue, [job.id] * 2)
    scene.worker()
    eventually(lambda: not dispatcher.waiting(first.queue), within=SOON)
    scene.client.wait(scene.submit("another").id, timeout=SOON)

    again = scene.client.status(job.id)

    assert (first.state, first.attempt, first.failures) == (JobState.SUCCEEDED, 1, 0)
    assert again == first
    assert len(scene.outputs(job)) == 1


def test_a_job_that_kills_every_process_ends_as_a_dead_letter(scene: Scene) -> None:
    """Case 11: each death is a loss, and losses have a bound."""
    poison = scene.client.submit(replace(scene.edit("poison [kill]"), max_failures=2))
    for _ in range(2):
        victim = scene.worker(lease=SHORT_LEASE)
        assert victim.process.wait(timeout=60) == -signal.SIGKILL
    scene.worker()
    healthy = scene.submit("carry on")

    done = scene.client.wait(healthy.id, timeout=SOON)
    dead = scene.client.wait(poison.id, timeout=SOON)

    assert (done.state, done.failures) == (JobState.SUCCEEDED, 0)
    assert (dead.state, dead.attempt, dead.failures) == (JobState.FAILED, 2, 2)
    assert dead.failure is not None
    assert dead.failure.failure_class is FailureClass.LOST


def test_a_stopped_worker_that_ticks_keeps_nothing_from_the_others(scene: Scene) -> None:
    """There is no leader: whoever lives ticks, and a lock ends with its transaction."""
    ticking = scene.worker()
    scene.client.wait(scene.submit("it ticks").id, timeout=SOON)
    freeze(scene, ticking)
    try:
        other = scene.worker()
        jobs = [scene.submit(f"by the other {number}") for number in range(8)]
        done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)
    finally:
        ticking.signal(signal.SIGCONT)

    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert other.process.poll() is None


LOCKER = """
import os, signal, sys
from sqlalchemy import func, select
from jobs.postgres.connection import Database
with Database(sys.argv[1]).begin() as connection:
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(sys.argv[2], 0))))
    print("held", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_tick_that_is_stopped_in_its_middle_gives_its_lock_up(scene: Scene) -> None:
    """Postgres ends a transaction that has been idle for ten seconds."""
    scene.worker().end()
    job = scene.submit("not for ever")
    url = scene.environment["PACKSHOT_DATABASE_URL"]
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, url, job.queue], cwd=ROOT, stdout=subprocess.PIPE
    ) as stopped:
        try:
            assert stopped.stdout is not None
            assert stopped.stdout.readline() == b"held\n"
            ledger = scene.services.ledger
            ledger.undispatch([job.id])  # the submit may have sent it
            meanwhile = list(ledger.take_window(job.queue, size=4))
            eventually(lambda: list(ledger.take_window(job.queue, size=4)) == [job.id], within=SOON)
        finally:
            stopped.kill()

    assert meanwhile == []


@pytest.mark.skipif(skew.library() is None, reason=skew.MISSING)
def test_a_worker_with_a_wrong_clock_is_as_good_as_any_other(scene: Scene) -> None:
    """Case 17: ten minutes ahead, far more than its lease; the database's clock alone decides."""
    scene.environment |= skew.environment(skew.library())
    skewed = scene.worker(steps=40, step_seconds=0.15, lease=SHORT_LEASE)  # twice the lease
    job = scene.submit("what time is it")
    scene.eventually_running(job.id)

    done = scene.client.wait(job.id, timeout=SOON)

    assert (done.state, done.attempt, done.failures) == (JobState.SUCCEEDED, 1, 0)
    assert skewed.process.poll() is None
