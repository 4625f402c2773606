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
from jobs.reconciler import Reconciler
from jobs.states import JobState
from standalone.servers import Servers
from tests.faults.scene import Scene
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


@pytest.mark.parametrize("fault", [refusing, frozen])
def test_a_hundred_submits_take_two_seconds_and_all_run_without_redis(
    scene: Scene, fault: object
) -> None:
    scene.worker(steps=2)
    scene.submit("warm up")  # uploads the picture, which is not what this measures

    assert callable(fault)
    _, usual = submitted(scene)  # on a busy machine, all takes longer
    with fault(scene.servers):
        jobs, seconds = submitted(scene)
        done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)

    assert seconds < max(LIMIT, 1.5 * usual)
    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert {job.attempt for job in done} == {1}


def test_jobs_are_dispatched_once_redis_is_back(scene: Scene) -> None:
    scene.worker(step_seconds=0.05)
    with refusing(scene.servers):
        scene.submit("while it is away")
    jobs = [scene.submit(f"now that it is back {number}") for number in range(20)]

    done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)

    assert {job.state for job in done} == {JobState.SUCCEEDED}


def test_an_emptied_redis_loses_nothing(scene: Scene) -> None:
    worker = scene.worker()
    worker.signal(signal.SIGSTOP)  # alive for half a minute yet, but it takes nothing
    jobs = [scene.submit(f"lost {number}") for number in range(8)]
    dispatcher = scene.services.dispatcher
    reconciler = Reconciler(ledger=scene.services.ledger, dispatcher=dispatcher)

    def dispatched() -> bool:
        reconciler.fill(jobs[0].queue)  # the worker may have been stopped in its turn
        return len(dispatcher.waiting(jobs[0].queue)) > 0

    eventually(dispatched, within=2 * timedelta(seconds=TURN_TIMEOUT))
    redis.Redis.from_url(scene.servers.redis.url).flushall()

    worker.signal(signal.SIGCONT)
    done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)

    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert {job.attempt for job in done} == {1}
