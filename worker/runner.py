"""One attempt, from a claimed lease to a verdict: fetch ▸ decode ▸ [card] ▸ encode ▸ upload."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from PIL.Image import Image

from jobs import pictures
from jobs.artifacts import ArtifactStore
from jobs.errors import FailureClass, LeaseLost, Unavailable
from jobs.ledger import Ledger
from jobs.model import Failure, Lease, Order, Result, input_key, output_key
from worker.card import Card
from worker.engine.base import Engine
from worker.failures import failure_of, is_ours
from worker.gate import Place
from worker.held import Held, Ordered
from worker.leases import LeaseKeeper
from worker.retry import pauses, retry_in

log = logging.getLogger(__name__)
T = TypeVar("T")

#: How long a finished picture waits for the bucket, a finished job for the ledger: seconds.
PATIENCE: Final = 60.0


class Verdict(StrEnum):
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    FAILED = "failed"  #: this attempt; the ledger decides whether another follows
    HANDED_BACK = "handed_back"
    LOST = "lost"
    WORKER_FATAL = "worker_fatal"  #: failed, and this process must end


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Knows the order of things and nothing about Celery, SQL, S3 or CUDA."""

    ledger: Ledger
    artifacts: ArtifactStore
    engine: Engine
    card: Card
    keeper: LeaseKeeper
    closing: threading.Event = field(default_factory=threading.Event)

    def run(self, lease: Lease, place: Place) -> Verdict:
        """Never raises: every ending is a verdict, a move in the ledger and a log line."""
        began = time.monotonic()
        with self.keeper.keep(lease) as held:
            try:
                verdict, why = self._attempt(held, place), ""
            except (Unavailable, LeaseLost) as error:  # of the ending itself: the lease decides
                verdict, why = Verdict.LOST, str(error)
        seconds = time.monotonic() - began
        log.info(
            "attempt_finished",
            extra={
                "job_id": str(lease.job.id),
                "attempt": lease.attempt,
                "verdict": verdict.value,
                **({"why": why} if why else {}),
                "seconds": seconds,
                **held.timings,
            },
        )
        return verdict

    def _attempt(self, held: Held, place: Place) -> Verdict:
        try:
            self._edit(held, place)
        except Ordered as order:
            return self._obey(held, order)
        except LeaseLost:
            return Verdict.LOST
        except Exception as error:  # the edge: no fault of one job may end the process
            if is_ours(error):
                log.exception("attempt_crashed", extra={"job_id": str(held.job.id)})
            return self._fail(held, failure_of(error))
        return Verdict.SUCCEEDED

    def _edit(self, held: Held, place: Place) -> None:
        began = time.monotonic()
        sources = self._fetch(held)
        ready = time.monotonic()
        with self.card.taken(), self._timed(held, "card"):
            held.timings["wait"] = time.monotonic() - ready
            held.check()
            place.reached_card(held.timings["fetch"] + held.timings["decode"])
            image = self._on_card(held, sources)
        with self._timed(held, "encode"):
            data = pictures.encode(image, held.job.request.format)
        held.check()
        result = self._upload(held, image, data)
        held.timings["total"] = time.monotonic() - began
        self._patiently(
            held, lambda: self.ledger.complete(held.lease, result, timings=held.timings)
        )

    def _fetch(self, held: Held) -> list[Image]:
        job = held.job
        with self._timed(held, "fetch"):
            keys = [input_key(job.tenant, digest) for digest in job.request.pictures]
            blobs = [self.artifacts.get(key) for key in keys]
        with self._timed(held, "decode"):
            return [
                pictures.decode(blob, name=f"picture {number}")
                for number, blob in enumerate(blobs, start=1)
            ]

    def _on_card(self, held: Held, sources: list[Image]) -> Image:
        request = held.job.request
        assert request.seed is not None, "the ledger gives every job a seed"

        def on_step(done: int, total: int) -> None:
            self.card.step(done, total)
            held.step(done, total)

        return self.engine.edit(sources, request, seed=request.seed, on_step=on_step)

    def _upload(self, held: Held, image: Image, data: bytes) -> Result:
        key = output_key(held.lease)
        media_type = held.job.request.format.media_type
        with self._timed(held, "upload"):
            self._patiently(held, lambda: self.artifacts.put(key, data, media_type=media_type))
        return Result(
            key=key,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            media_type=media_type,
            width=image.width,
            height=image.height,
        )

    def _patiently(self, held: Held, act: Callable[[], T]) -> T:
        """The card's work is done: an outage now must not throw it away."""
        deadline = time.monotonic() + PATIENCE
        for pause in pauses():
            held.check()
            try:
                return act()
            except Unavailable:
                if time.monotonic() + pause > deadline or self.closing.wait(pause):
                    raise
        raise AssertionError("pauses never end")

    def _obey(self, held: Held, order: Ordered) -> Verdict:
        match order.order:
            case Order.LOST | Order.CONTINUE:
                return Verdict.LOST
            case Order.CANCEL:
                self.ledger.confirm_cancel(held.lease)
                return Verdict.CANCELLED
            case Order.STOP:
                late = Failure(
                    failure_class=FailureClass.TRANSIENT, code="run_limit", message=order.why
                )
                return self._fail(held, late)
            case None:
                self.ledger.hand_back(held.lease, why=order.why)
                return Verdict.HANDED_BACK

    def _fail(self, held: Held, failure: Failure) -> Verdict:
        pause = retry_in(failure.failure_class, held.job.failures)
        self.ledger.fail(held.lease, failure, retry_in=pause)
        fatal = failure.failure_class is FailureClass.WORKER_FATAL
        return Verdict.WORKER_FATAL if fatal else Verdict.FAILED

    @contextmanager
    def _timed(self, held: Held, stage: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            held.timings[stage] = time.monotonic() - began
