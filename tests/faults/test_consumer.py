"""Celery's side of a worker: it may end or lose Redis, and is there again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import redis

from jobs.model import Job
from jobs.states import JobState
from tests.faults.scene import Scene, Worker
from tests.faults.test_redis_away import done, refusing
from tests.services import eventually

SOON = timedelta(seconds=60)


def told(worker: Worker, word: str) -> int:
    """How often its log tells of it."""
    return worker.log.read_text(errors="replace").count(word)


def eventually_consumes(scene: Scene, job: Job) -> None:
    """A message of a job that is done changes nothing, so only a consumer can remove it."""
    dispatcher = scene.services.dispatcher
    eventually(dispatcher.ready, within=SOON)
    dispatcher.dispatch(job.queue, [job.id])
    eventually(lambda: not dispatcher.waiting(job.queue), within=SOON)


def test_a_worker_starts_and_works_without_redis_and_consumes_once_it_is_back(
    scene: Scene,
) -> None:
    with refusing(scene.servers):
        worker = scene.worker()
        job = done(scene, "nobody can tell you")
        eventually(lambda: told(worker, "redis_away") == 1)

    eventually_consumes(scene, job)

    eventually(lambda: told(worker, "redis_back") == 1)
    assert [told(worker, word) for word in ("redis_away", "consumer_away", "Cannot")] == [1, 1, 0]


def refusals(client: redis.Redis, code: str) -> int:
    stats: Any = client.info("errorstats")
    return int(stats.get(f"errorstat_{code}", {}).get("count", 0))


def test_a_redis_that_takes_no_writes_is_told_once_and_used_again_when_it_does(
    scene: Scene,
) -> None:
    """As after a failover, when the address leads to what has become the replica."""
    worker = scene.worker()
    job = done(scene, "before")
    client = redis.Redis.from_url(scene.servers.redis.url)
    before = refusals(client, "READONLY")
    client.replicaof("127.0.0.1", "1")
    try:
        client.client_kill_filter(_type="normal")
        done(scene, "meanwhile")
        eventually(lambda: refusals(client, "READONLY") >= before + 8, within=SOON)  # try by try
    finally:
        client.replicaof("NO", "ONE")

    eventually_consumes(scene, job)

    assert [told(worker, word) for word in ("redis_away", "consumer_away")] == [1, 1]
    assert told(worker, "Traceback") == 0


def test_a_right_to_read_that_is_missing_is_told_once_and_not_as_over_at_each_try(
    scene: Scene,
) -> None:
    worker = scene.worker()
    job = done(scene, "before")
    client = redis.Redis.from_url(scene.servers.redis.url)
    before = refusals(client, "NOPERM")
    client.acl_setuser("default", enabled=True, commands=["-brpop"])
    try:
        eventually(lambda: refusals(client, "NOPERM") >= before + 3, within=SOON)
    finally:
        client.acl_setuser("default", enabled=True, commands=["+brpop"])

    eventually_consumes(scene, job)

    eventually(lambda: told(worker, "consumer_back") == 1)
    assert told(worker, "consumer_away") == 1


def test_a_message_of_garbage_ends_no_consumer(scene: Scene) -> None:
    worker = scene.worker()
    job = done(scene, "before")
    redis.Redis.from_url(scene.servers.redis.url).lpush(job.queue, "no JSON", '{"no": "message"}')

    eventually_consumes(scene, job)

    assert worker.process.poll() is None


def test_a_consumer_survives_cut_connections(scene: Scene) -> None:
    scene.worker()
    job = done(scene, "before")
    for _ in range(3):
        redis.Redis.from_url(scene.servers.redis.url).client_kill_filter(_type="normal")
        eventually_consumes(scene, job)

    done(scene, "after")


def test_flower_s_shutdown_drains_the_worker(scene: Scene) -> None:
    worker = scene.worker(steps=10, step_seconds=0.1)
    job = scene.submit("let me finish")
    scene.eventually_running(job.id)

    scene.services.dispatcher.app.control.shutdown()
    code = worker.process.wait(timeout=30)

    assert code == 0
    assert scene.client.status(job.id).state is JobState.SUCCEEDED
