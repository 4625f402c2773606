"""Packshot: a durable ledger, fenced attempts, an audit of each move.

Its worker differs from a real one in engine and bucket alone: both do nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from itertools import count
from typing import Any, Final, cast

from PIL import Image

from benchmarks.queue.sides import module
from benchmarks.system import prepared
from jobs.connect import connect
from jobs.ledger import JobFilter
from jobs.log import set_up
from jobs.model import DEFAULT_TENANT, input_key
from jobs.states import JobState
from jobs.testing.memory_artifacts import MemoryArtifacts
from producer.client import Edit
from producer.inputs import Picture
from worker.engine.fake import FakeEngine
from worker.process import WorkerProcess
from worker.settings import WorkerSettings

SIDE: Final = 16  # pixels: no picture to speak of
DISPATCHED: Final = 60.0  # seconds at most


class Packshot:
    name = ""

    def __init__(self, environment: Mapping[str, str]) -> None:
        services, self._client = prepared(environment)
        services.close()
        self._numbers = count()
        self._picture = Picture(name="nothing.png", data=nothing())

    def submit(self, count: int) -> None:
        for _ in range(count):
            self._client.submit(self._edit())

    def submit_many(self, count: int) -> None:
        self._client.submit_many([self._edit() for _ in range(count)])

    def dispatched(self) -> None:
        """Return once the window, which is all that Redis ever holds of it, stands there."""
        self._client._nudger.flush(DISPATCHED)  # noqa: SLF001 - nothing of ours needs it but this

    def worker(self) -> list[str]:
        return module("benchmarks.queue.ours")

    def finished(self) -> int:
        counts = self._client.ledger.counts(JobFilter(tenant=DEFAULT_TENANT))
        return counts.get(JobState.SUCCEEDED, 0)

    def waiting(self) -> bool:
        where = JobFilter(tenant=DEFAULT_TENANT, state=JobState.QUEUED)
        return bool(self._client.ledger.list(where, limit=1))

    def _edit(self) -> Edit:
        return Edit(
            pictures=[self._picture], instruction=f"do nothing {next(self._numbers)}", model="fake"
        )


def nothing() -> bytes:
    file = BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(file, "PNG")
    return file.getvalue()


def work() -> int:
    """One worker process, as ``packshot-worker run`` starts it."""
    settings = WorkerSettings.load()
    set_up(as_json=False, level=logging.WARNING)
    artifacts = MemoryArtifacts()
    key = input_key(DEFAULT_TENANT, hashlib.sha256(nothing()).hexdigest())
    artifacts.put(key, nothing(), media_type="image/png")
    services = replace(connect(settings), artifacts=cast("Any", artifacts))
    return int(WorkerProcess(settings, services, FakeEngine(steps=1)).run())


if __name__ == "__main__":
    code = work()
    sys.stdout.flush()
    os._exit(code)
