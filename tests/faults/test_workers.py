"""Promises 1 to 3 with real processes: killed, stopped, and told twice."""

from __future__ import annotations

import signal
from datetime import timedelta
from time import monotonic

from jobs.states import JobState
from tests.faults.scene import SHORT_LEASE, Scene
from tests.faults.standstill import freeze
from tests.faults.test_redis_away import eventually_comes_by_message
from tests.services import eventually
from worker.attempt.leases import EVERY

SOON = timedelta(seconds=60)


def test_a_job_of_a_killed_worker_runs_again_within_the_lease_and_five_seconds(
    scene: Scene,
) -> None:
    # Longer than a rival takes to start.
    victim = scene.worker(steps=2_000, step_seconds=0.05, lease=SHORT_LEASE)
    job = scene.submit("kill me in the middle")
    scene.eventually_running(job.id, steps_done=2)
    scene.worker(steps=4)  # ready, with nothing to do
    victim.signal(signal.SIGKILL)
    killed = monotonic()

    eventually(lambda: scene.client.status(job.id).attempt == 2, within=SOON)
    waited = monotonic() - killed
    job = scene.client.wait(job.id, timeout=SOON)

    assert waited < SHORT_LEASE.total_seconds() + 5
    assert (job.state, job.attempt, job.failures) == (JobState.SUCCEEDED, 2, 1)
    assert [move.why for move in scene.services.ledger.history(job.id)].count("lease expired") == 1


def test_a_paused_worker_cannot_overwrite_its_successor(scene: Scene) -> None:
    # Longer than a rival takes to start.
    victim = scene.worker(steps=2_000, step_seconds=0.1, lease=SHORT_LEASE)
    job = scene.submit("pause me in the middle")
    scene.eventually_running(job.id)
    scene.worker(steps=4)
    freeze(scene, victim)
    done = scene.client.wait(job.id, timeout=SOON)
    picture = scene.client.result(job.id)

    victim.signal(signal.SIGCONT)
    eventually(lambda: b"verdict=lost" in victim.log.read_bytes(), within=SOON)

    again = scene.client.status(job.id)
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 2)
    assert (again.result, again.attempt) == (done.result, 2)
    assert scene.client.result(job.id) == picture


def test_a_message_delivered_five_times_gives_one_result(scene: Scene) -> None:
    scene.worker().end()  # so that the job's queue is known
    job = scene.submit("once is enough")
    dispatcher = scene.services.dispatcher
    dispatcher.dispatch(job.queue, [job.id] * 5)

    scene.worker(step_seconds=0.1)
    scene.worker(step_seconds=0.1)
    done = scene.client.wait(job.id, timeout=SOON)
    eventually(lambda: not dispatcher.waiting(job.queue), within=SOON)

    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1)
    assert len(scene.outputs(done)) == 1


def test_jobs_come_by_message_when_redis_is_there(scene: Scene) -> None:
    eventually_comes_by_message(scene, scene.worker())


def test_a_first_sigterm_finishes_the_job_in_hand(scene: Scene) -> None:
    worker = scene.worker(steps=10, step_seconds=0.1)
    job = scene.submit("let me finish")
    scene.eventually_running(job.id)

    worker.signal(signal.SIGTERM)
    code = worker.process.wait(timeout=30)

    job = scene.client.status(job.id)
    assert code == 0
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)


def test_a_second_sigterm_gives_the_job_back_uncounted(scene: Scene) -> None:
    worker = scene.worker(steps=200, step_seconds=0.1)
    job = scene.submit("somebody else will do me")
    scene.eventually_running(job.id)

    worker.signal(signal.SIGTERM)
    eventually(lambda: b"draining" in worker.log.read_bytes())
    worker.signal(signal.SIGTERM)
    code = worker.process.wait(timeout=15)

    job = scene.client.status(job.id)
    assert code == 0
    assert (job.state, job.attempt, job.failures) == (JobState.QUEUED, 1, 0)


def test_a_running_job_is_cancelled_within_a_step_and_a_second(scene: Scene) -> None:
    """Counted in steps, which a busy machine makes slower too; the ledger hears of them late."""
    scene.worker(steps=200, step_seconds=0.1)
    job = scene.submit("never mind")
    after = scene.submit("the next one")
    scene.eventually_running(job.id)

    asked = scene.client.cancel(job.id)  # with the steps that the ledger has heard of by then
    eventually(lambda: scene.client.status(job.id).state is JobState.CANCELLED)

    scene.eventually_running(after.id)
    late = EVERY.total_seconds() / 0.1
    assert scene.client.status(job.id).steps_done - asked.steps_done <= 1 + 1 / 0.1 + late
    assert scene.outputs(job) == []
