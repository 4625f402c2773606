"""Packshot: a durable ledger, fenced attempts, an audit of each move.

Its worker is a real one that comes by its jobs, leases, renews and ends them as any other.  What
they do is nothing: no picture is fetched, edited, encoded or uploaded.  With ``--pictures`` they
are, from a bucket in memory and by an engine that takes no time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from io import BytesIO
from itertools import count
from typing import Any, Final, cast

from PIL import Image

from benchmarks.queue.sides import Side, module
from benchmarks.system import prepared
from jobs.connect import connect
from jobs.ledger import JobFilter
from jobs.log import set_up
from jobs.model import DEFAULT_TENANT, Result, input_key, output_key
from jobs.states import JobState
from jobs.testing.memory_artifacts import MemoryArtifacts
from producer.edits import Edit
from producer.inputs import Picture
from worker.attempt.runner import Runner
from worker.card.gate import Place
from worker.engine.fake import FakeEngine
from worker.held import Held
from worker.process import WorkerProcess
from worker.settings import WorkerSettings

SIDE: Final = 16  # pixels: no picture to speak of
NOTHING: Final = hashlib.sha256(b"").hexdigest()
PICTURES: Final = "--pictures"
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

    def with_pictures(self) -> Side:
        """The same jobs, each with a picture's way."""
        return WithPictures(self)

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


class WithPictures:
    name = "pictures"

    def __init__(self, ours: Packshot) -> None:
        self.submit, self.submit_many = ours.submit, ours.submit_many
        self.finished, self.waiting = ours.finished, ours.waiting

    def worker(self) -> list[str]:
        return module("benchmarks.queue.ours", PICTURES)


class Nothing(Runner):
    """On the card, where nothing is done, and off it: the rest is as it always is."""

    def _edit(self, held: Held, place: Place) -> Result:
        place.is_ready()
        with self.card.taken(held.check, held), self._timed(held, "card"):
            place.reached_card()
            self.card.step(1, 1)
            held.step(1, 1)
        return Result(
            key=output_key(held.lease),
            sha256=NOTHING,
            bytes=0,
            media_type=held.job.request.format.media_type,
            width=SIDE,
            height=SIDE,
        )


def work(*, pictures: bool) -> int:
    """One worker process, as ``packshot-worker run`` starts it."""
    settings = WorkerSettings.load()
    set_up(as_json=False, level=logging.WARNING)
    artifacts = MemoryArtifacts()
    key = input_key(DEFAULT_TENANT, hashlib.sha256(nothing()).hexdigest())
    artifacts.put(key, nothing(), media_type="image/png")
    services = replace(connect(settings), artifacts=cast("Any", artifacts))
    process = WorkerProcess(settings, services, FakeEngine(steps=1))
    if not pictures:
        parts = {one.name: getattr(process.runner, one.name) for one in fields(Runner)}
        process.intake.runner = Nothing(**parts)
    return int(process.run())


if __name__ == "__main__":
    code = work(pictures=PICTURES in sys.argv)
    sys.stdout.flush()
    os._exit(code)
