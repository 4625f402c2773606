"""RQ: its simple worker, which saves the fork of each job."""

from __future__ import annotations

from typing import Any

import redis
from rq import Queue
from rq.registry import StartedJobRegistry

from benchmarks.queue.sides import module

QUEUE = "bench-rq"


def nothing(_number: int) -> None:
    """A job that does nothing."""


class RawRq:
    name = "rq"

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._queue = Queue(QUEUE, connection=redis.Redis.from_url(redis_url))
        self._submitted = 0

    def submit(self, count: int) -> None:
        for number in range(count):
            self._queue.enqueue(nothing, number, result_ttl=0)
        self._submitted += count

    def submit_many(self, count: int) -> None:
        data: list[Any] = [
            Queue.prepare_data(nothing, (number,), result_ttl=0) for number in range(count)
        ]
        self._queue.enqueue_many(data)
        self._submitted += count

    def worker(self) -> list[str]:
        options = ["--worker-class", "rq.worker.SimpleWorker", "--quiet", "--url", self._url]
        return [*module("rq.cli", "worker"), *options, QUEUE]

    def finished(self) -> int:
        started = StartedJobRegistry(queue=self._queue).get_job_count(cleanup=False)
        return self._submitted - self._queue.count - started

    def waiting(self) -> bool:
        return self._queue.count > 0
