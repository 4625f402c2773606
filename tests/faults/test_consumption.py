"""A consumer that is connected and consumes nothing: rebuilt, and only then given up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event

import pytest
import redis

from jobs.model import Job
from tests.faults.proxy import Mode, Proxy
from tests.faults.scene import Scene, Worker
from tests.faults.test_consumer import eventually_consumes
from tests.faults.test_redis_away import done, refusing
from tests.services import eventually
from worker.exits import Exit

SOON = timedelta(seconds=60)
PATIENCE = 1.5  # seconds


@pytest.fixture(autouse=True)
def impatient(scene: Scene) -> None:
    scene.environment["PACKSHOT_CONSUMER_TIMEOUT"] = str(PATIENCE)


@contextmanager
def without_blocking_reads(scene: Scene) -> Iterator[None]:
    """Someone's access list forbids what a consumer reads with; everything else works."""
    with redis.Redis.from_url(scene.servers.redis.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-brpop")
        try:
            yield
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+brpop")


def left_lying(scene: Scene, job: Job) -> None:
    """A message that no consumer takes: the jobs themselves are claimed from the ledger."""
    eventually(scene.services.dispatcher.ready, within=SOON)
    scene.services.dispatcher.dispatch(job.queue, [job.id])


def listeners(client: redis.Redis) -> int:
    """Consumers that obey remote control: one that has just begun does so last of all."""
    return sum(int(one["psub"]) > 0 for one in client.client_list())


def says(worker: Worker, event: bytes) -> bool:
    return event in worker.log.read_bytes()


def test_a_consumer_that_was_told_to_stop_consuming_is_rebuilt(scene: Scene) -> None:
    """As by Flower's button, which Celery remembers for as long as the process lives."""
    worker = scene.worker()
    job = done(scene, "before")
    usual: list[int] = []  # connections, round by round
    with redis.Redis.from_url(scene.servers.redis.url) as client:
        for _ in range(3):  # more often than a rebuild may fail
            eventually(lambda: listeners(client) == 1, within=SOON)  # nobody else can answer
            scene.services.dispatcher.app.control.cancel_consumer(job.queue, reply=True, timeout=5)
            eventually_consumes(scene, job)
            usual.append(len(client.client_list()))
        # What was left behind is closed.
        eventually(lambda: len(client.client_list()) <= usual[0] + 2, within=SOON)

    done(scene, "after")
    log = worker.log.read_text()
    assert log.count("consumer_rebuilt") == 3
    assert "consumer_stuck" not in log
    assert "Warning" not in log
    assert log.count("worker_ready") == 1
    assert worker.process.poll() is None


def test_a_consumer_that_rebuilding_does_not_help_ends_the_process(scene: Scene) -> None:
    worker = scene.worker(steps=100, step_seconds=0.1)
    with without_blocking_reads(scene):
        job = scene.submit("in hand meanwhile")
        left_lying(scene, scene.eventually_running(job.id))
        code = worker.process.wait(timeout=90)

    job = scene.client.status(job.id)
    assert code == Exit.STUCK
    assert worker.log.read_bytes().count(b"consumer_rebuilt") == 2
    assert job.failures == 0


def test_half_open_connections_are_replaced(scene: Scene) -> None:
    """A firewall forgot them: both ends believe in them, and nothing comes through any more."""
    with Proxy(scene.servers.redis.port) as proxy:
        scene.environment["PACKSHOT_REDIS_URL"] = proxy.url(scene.servers.redis.url)
        worker = scene.worker()
        job = done(scene, "before")
        fell = proxy.half_open()
        eventually_consumes(scene, job)

        done(scene, "after")
        assert fell > 0
        assert worker.process.poll() is None


@pytest.mark.parametrize("mode", [Mode.CUT, Mode.BLACKHOLE, Mode.SLOW])
def test_no_trouble_with_redis_ends_a_process(scene: Scene, mode: Mode) -> None:
    with Proxy(scene.servers.redis.port) as proxy:
        scene.environment["PACKSHOT_REDIS_URL"] = proxy.url(scene.servers.redis.url)
        worker = scene.worker()
        job = done(scene, "before")
        proxy.mode = mode
        left_lying(scene, job)
        done(scene, "during")
        Event().wait(PATIENCE * 6)  # the fault itself takes this long
        proxy.mode = Mode.PASS
        eventually_consumes(scene, job)

        assert worker.process.poll() is None
        assert not says(worker, b"consumer_stuck")


def test_while_redis_is_away_nothing_is_rebuilt_and_no_model_loaded_again(scene: Scene) -> None:
    worker = scene.worker()
    job = done(scene, "before")
    with refusing(scene.servers):
        done(scene, "during")
        Event().wait(PATIENCE * 4)  # the fault itself takes this long
        rebuilt = says(worker, b"consumer_rebuilt")

    eventually_consumes(scene, job)  # Celery waits ever longer; ours may be quicker
    assert not rebuilt
    assert not says(worker, b"consumer_stuck")
    assert worker.log.read_bytes().count(b"worker_ready") == 1
