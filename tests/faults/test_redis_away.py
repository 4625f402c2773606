"""Promise 1: with Redis refusing or frozen, submit is as fast as ever and the cards go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

import pytest
import redis

from jobs.celery_dispatch import TURN_TIMEOUT
from jobs.model import Job
from jobs.reconciler import WINDOW_PER_WORKER, Reconciler
from jobs.states import JobState
from standalone.servers import Servers
from tests.faults.scene import Scene, Worker
from tests.faults.standstill import freeze
from tests.services import eventually

SOON = timedelta(seconds=60)
SUBMITS = 100
LIMIT = 2.0  # seconds for all of them


@contextmanager
def refusing(servers: Servers) -> Iterator[None]:
    servers.redis.kill()
    try:
        yield
    finally:
        servers.redis.start()


@contextmanager
def frozen(servers: Servers) -> Iterator[None]:
    servers.redis.pause()
    try:
        yield
    finally:
        servers.redis.resume()


def submitted(scene: Scene) -> tuple[list[Job], float]:
    """New jobs, and the seconds that all took together."""
    began = monotonic()
    jobs = [scene.submit(f"at {began}, {number}") for number in range(SUBMITS)]
    return jobs, monotonic() - began


def done(scene: Scene, instruction: str) -> Job:
    job = scene.client.wait(scene.submit(instruction).id, timeout=SOON)
    assert job.state is JobState.SUCCEEDED
    return job


def came_by_message(worker: Worker) -> int:
    return worker.log.read_bytes().count(b"came_by=message")


def eventually_comes_by_message(scene: Scene, worker: Worker) -> None:
    """Of jobs one after another: each is claimed if its message takes its time."""
    before = came_by_message(worker)

    def comes_by_message() -> bool:
        done(scene, f"how do you come {monotonic()}")
        return came_by_message(worker) > before

    eventually(comes_by_message, within=SOON)


@pytest.mark.parametrize("fault", [refusing, frozen])
def test_a_hundred_submits_take_two_seconds_and_all_run_without_redis(
    scene: Scene, fault: object
) -> None:
    scene.worker(steps=2)
    scene.submit("warm up")  # uploads the picture, which is not what this measures

    assert callable(fault)
    _, before = submitted(scene)  # on a busy machine, all takes longer
    with fault(scene.servers):
        jobs, seconds = submitted(scene)
        done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)
    _, after = submitted(scene)

    assert seconds < max(LIMIT, 1.5 * max(before, after))
    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert {job.attempt for job in done} == {1}


def test_jobs_are_dispatched_once_redis_is_back(scene: Scene) -> None:
    worker = scene.worker()
    with refusing(scene.servers):
        done(scene, "while it is away")

    eventually_comes_by_message(scene, worker)


def test_an_emptied_redis_loses_nothing(scene: Scene) -> None:
    worker = scene.worker()
    freeze(scene, worker)  # alive for half a minute yet, but it takes nothing
    jobs = [scene.submit(f"lost {number}") for number in range(2 * WINDOW_PER_WORKER)]
    dispatcher = scene.services.dispatcher
    reconciler = Reconciler(ledger=scene.services.ledger, dispatcher=dispatcher)

    def dispatched() -> bool:
        reconciler.fill(jobs[0].queue)  # the worker may have been stopped in its turn
        # One message may have gone to the worker, which waits for it.
        return len(dispatcher.waiting(jobs[0].queue)) >= WINDOW_PER_WORKER - 1

    eventually(dispatched, within=2 * timedelta(seconds=TURN_TIMEOUT))
    redis.Redis.from_url(scene.servers.redis.url).flushall()

    def dispatched_again() -> bool:
        reconciler.forget_lost(jobs[0].queue)
        return dispatched()

    eventually(dispatched_again, within=SOON)
    worker.signal(signal.SIGCONT)
    done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)

    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert {job.attempt for job in done} == {1}


def kept(client: redis.Redis) -> dict[bytes, bytes]:
    """All that stands in Redis, without the keys that run out while this reads them."""
    dumps = {key: client.dump(key) for key in client.scan_iter()}
    return {key: content for key, content in dumps.items() if content is not None}


def test_a_redis_that_goes_back_in_time_gives_no_job_a_second_attempt(scene: Scene) -> None:
    """As after a failover to a replica that was behind: what was consumed stands there again."""
    worker = scene.worker()
    freeze(scene, worker)
    jobs = [scene.submit(f"old news {number}") for number in range(4)]
    queue = jobs[0].queue
    scene.services.dispatcher.dispatch(queue, [job.id for job in jobs])
    with redis.Redis.from_url(scene.servers.redis.url) as client:
        assert client.llen(queue) > 1  # one may be on its way to the consumer
        before = kept(client)
        worker.signal(signal.SIGCONT)
        scene.client.wait_all([job.id for job in jobs], timeout=SOON)
        eventually(lambda: not client.llen(queue), within=SOON)
        for key, content in before.items():
            client.restore(key, 0, content, replace=True)

        eventually(lambda: not client.llen(queue), within=SOON)

    done(scene, "and the next one")
    again = [scene.client.status(job.id) for job in jobs]
    assert {(job.state, job.attempt) for job in again} == {(JobState.SUCCEEDED, 1)}
    assert {len(scene.outputs(job)) for job in again} == {1}
