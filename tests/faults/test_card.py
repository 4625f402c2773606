"""A card that hangs or breaks ends its process, and no job but the one on it pays for that."""

from __future__ import annotations

import re
import signal
from datetime import timedelta
from threading import Event

import pytest

from jobs.errors import FailureClass
from jobs.model import Failure, Job
from jobs.states import JobState
from tests.faults.proxy import Proxy
from tests.faults.scene import SHORT_LEASE, Scene
from tests.services import eventually
from worker.exits import Exit

SOON = timedelta(seconds=60)
CARD_TIMEOUT = 2.0


@pytest.fixture(autouse=True)
def impatient(scene: Scene) -> None:
    scene.environment["PACKSHOT_CARD_TIMEOUT"] = str(CARD_TIMEOUT)


def submitted_beside(scene: Scene, fault: str) -> list[Job]:
    """A job with a fault, and some that a worker takes while that one is on the card."""
    return [scene.submit(words) for words in (fault, "the next one", "and another")]


def failure_of_the_hung(scene: Scene, fault: str) -> Failure:
    """Its process ends, and of the jobs it fails alone; where its thread stood is in the log."""
    worker = scene.worker(step_seconds=0.1)
    hung, *others = submitted_beside(scene, fault)

    code = worker.process.wait(timeout=30)
    log = worker.log.read_text()

    hung, *others = (scene.client.status(job.id) for job in (hung, *others))
    assert code == Exit.HUNG
    assert (hung.state, hung.failures) == (JobState.QUEUED, 1)
    assert hung.failure is not None
    assert {job.failures for job in others} == {0}
    assert {job.state for job in others} <= {JobState.QUEUED, JobState.SUCCEEDED}
    assert re.search(rf"{hung.failure.code} .*where=.*fake\.py:\d+ by_word", log)
    return hung.failure


def test_a_hung_card_ends_the_process_and_fails_the_job_on_it_alone(scene: Scene) -> None:
    failure = failure_of_the_hung(scene, "wait for me [hang]")

    assert (failure.failure_class, failure.code) == (FailureClass.WORKER_FATAL, "card_hung")


def test_a_job_that_hangs_before_the_card_fails_alone_and_ends_the_process(scene: Scene) -> None:
    failure = failure_of_the_hung(scene, "wait for me [hang 0]")

    assert (failure.code, failure.message) == (
        "job_hung",
        f"prepare: no sign of life for {CARD_TIMEOUT:g} s",
    )


def test_a_job_that_waits_for_a_hung_card_is_handed_back_uncounted(scene: Scene) -> None:
    scene.worker().end()  # so that their queue is known
    scene.submit("wait for me [hang 4]")
    waiting = scene.submit("the next one")
    worker = scene.worker()  # finds both, and has the first on its card for two seconds

    code = worker.process.wait(timeout=30)

    waiting = scene.client.status(waiting.id)
    assert code == Exit.HUNG
    assert (waiting.state, waiting.attempt, waiting.failures) == (JobState.QUEUED, 1, 0)
    why = [move.why for move in scene.services.ledger.history(waiting.id)]
    assert why[-1] == "the card is lost to this process"


def test_a_job_that_hangs_every_card_ends_as_a_dead_letter(scene: Scene) -> None:
    scene.worker().end()
    poison = scene.submit("poison [hang]")
    after = scene.submit("the next one")
    for _ in range(poison.max_failures):
        worker = scene.worker()
        assert worker.process.wait(timeout=30) == Exit.HUNG

    scene.worker()
    done = scene.client.wait_all([poison.id, after.id], timeout=SOON)

    assert [job.state for job in done] == [JobState.FAILED, JobState.SUCCEEDED]
    assert [job.failures for job in done] == [poison.max_failures, 0]


def test_jobs_off_the_card_finish_before_a_hung_process_ends(scene: Scene) -> None:
    with Proxy(scene.servers.s3.port) as proxy:
        scene.environment["PACKSHOT_S3_URL"] = proxy.url(scene.servers.s3.url)
        proxy.held_back = b"PUT "
        worker = scene.worker(step_seconds=0.1)
        uploading = scene.submit("uploading meanwhile")
        scene.submit("right behind it [hang]")
        eventually(lambda: b"card_hung" in worker.log.read_bytes(), within=SOON)
        still_alive = worker.process.poll() is None
        proxy.held_back = b""
        code = worker.process.wait(timeout=30)

    job = scene.client.status(uploading.id)
    assert still_alive
    assert code == Exit.HUNG
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)


def test_a_card_that_goes_on_after_all_leaves_the_uploads_their_time(scene: Scene) -> None:
    """Its job has left, so whoever is still here has to be waited for."""
    with Proxy(scene.servers.s3.port) as proxy:
        scene.environment["PACKSHOT_S3_URL"] = proxy.url(scene.servers.s3.url)
        proxy.held_back = b"PUT "
        worker = scene.worker(step_seconds=0.1)
        uploading = scene.submit("uploading meanwhile")
        scene.submit("right behind it [nap]")
        eventually(lambda: b"attempt_finished" in worker.log.read_bytes(), within=SOON)
        Event().wait(1)  # a process that waits for nobody is gone by then
        still_alive = worker.process.poll() is None
        proxy.held_back = b""
        code = worker.process.wait(timeout=30)

    job = scene.client.status(uploading.id)
    assert b"card_hung" in worker.log.read_bytes()
    assert still_alive
    assert code == Exit.HUNG
    assert (job.state, job.attempt, job.failures) == (JobState.SUCCEEDED, 1, 0)


def test_a_worker_that_was_paused_for_longer_has_no_hung_card(scene: Scene) -> None:
    worker = scene.worker(steps=40, step_seconds=0.2, lease=SHORT_LEASE)
    job = scene.submit("let me sleep")
    scene.eventually_running(job.id)

    worker.signal(signal.SIGSTOP)
    # The fault itself takes this long.
    Event().wait(max(CARD_TIMEOUT, SHORT_LEASE.total_seconds()) + 1)
    worker.signal(signal.SIGCONT)
    done = scene.client.wait(job.id, timeout=SOON)

    assert done.state is JobState.SUCCEEDED
    assert worker.process.poll() is None
    assert b"card_hung" not in worker.log.read_bytes()


def test_a_card_that_hangs_while_its_worker_drains_is_told_all_the_same(scene: Scene) -> None:
    worker = scene.worker()
    job = scene.submit("the last one [hang]")
    scene.eventually_running(job.id)

    worker.signal(signal.SIGTERM)
    code = worker.process.wait(timeout=30)

    job = scene.client.status(job.id)
    assert code == Exit.HUNG
    assert (job.state, job.failures) == (JobState.QUEUED, 1)


def test_a_second_sigterm_ends_a_process_with_a_hung_card_within_seconds(scene: Scene) -> None:
    scene.environment["PACKSHOT_CARD_TIMEOUT"] = "600"
    worker = scene.worker()
    job = scene.submit("deployed over [hang]")
    scene.eventually_running(job.id)

    worker.signal(signal.SIGTERM)
    eventually(lambda: b"draining" in worker.log.read_bytes())
    worker.signal(signal.SIGTERM)
    code = worker.process.wait(timeout=60)

    job = scene.client.status(job.id)
    assert code == Exit.DRAINED
    assert (job.state, job.failures) == (JobState.QUEUED, 0)
    assert b"attempt_stuck" in worker.log.read_bytes()


def test_a_sticky_error_ends_the_process_and_the_others_are_handed_back(scene: Scene) -> None:
    worker = scene.worker(step_seconds=0.1)
    broken, *others = submitted_beside(scene, "break it [fatal]")

    code = worker.process.wait(timeout=30)

    broken, *others = (scene.client.status(job.id) for job in (broken, *others))
    assert code == Exit.FATAL
    assert (broken.state, broken.failures) == (JobState.QUEUED, 1)
    assert broken.failure is not None
    assert broken.failure.failure_class is FailureClass.WORKER_FATAL
    assert {(job.state, job.failures) for job in others} == {(JobState.QUEUED, 0)}
