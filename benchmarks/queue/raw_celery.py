"""Plain Celery on Redis: no ledger, late acknowledgement, its threads pool."""

from __future__ import annotations

from typing import Any

import redis
from celery import Celery

from benchmarks.queue.settings import REDIS
from benchmarks.queue.sides import module

QUEUE = "bench.celery"

app = Celery("bench", broker=REDIS or "memory://")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_default_queue=QUEUE,
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
)


@app.task(name="nothing")
def nothing(_number: int) -> None:
    """A job that does nothing."""


class RawCelery:
    name = "celery"

    def __init__(self, redis_url: str) -> None:
        app.conf.update(broker_url=redis_url)
        self._redis: Any = redis.Redis.from_url(redis_url)
        self._submitted = 0

    def submit(self, count: int) -> None:
        for number in range(count):
            nothing.delay(number)
        self._submitted += count

    submit_many = submit

    def worker(self) -> list[str]:
        options = ["--pool", "threads", "--concurrency", "8", "--loglevel", "ERROR"]
        return [*module("celery", "--app", "benchmarks.queue.raw_celery", "worker"), *options]

    def finished(self) -> int:
        return self._submitted - int(self._redis.llen(QUEUE)) - int(self._redis.hlen("unacked"))

    def waiting(self) -> bool:
        return self.finished() < self._submitted
