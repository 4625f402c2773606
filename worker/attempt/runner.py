"""One attempt, from a claimed lease to a verdict.

fetch ▸ decode ▸ prepare ▸ [card] ▸ judge ▸ finish ▸ encode ▸ upload
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

from PIL.Image import Image

from jobs import pictures
from jobs.artifacts import ArtifactStore
from jobs.errors import Denied, LeaseLost, NoSuchArtifact, Unavailable
from jobs.ledger import Ledger
from jobs.log import about
from jobs.model import ArtifactKey, Failure, Lease, Order, Result, Suspicion, input_key, output_key
from jobs.outage import Outage
from worker.attempt.aside import aside
from worker.attempt.failures import failure_of, is_ours
from worker.attempt.leases import LeaseKeeper
from worker.attempt.outcomes import Outcome, Verdict, after, facts_of, verdict_of, why_of
from worker.attempt.provenance import Labeller
from worker.attempt.retry import pauses, retry_in
from worker.attempt.suspects import suspicion_of
from worker.card.card import Card
from worker.card.gate import Place
from worker.engine.base import Edit, Engine
from worker.held import ON_CARD, Held, Ordered, Stop

log = logging.getLogger(__name__)
T = TypeVar("T")

#: How long a job waits for the bucket, and its end for a ledger that is there: seconds.
PATIENCE: Final = 60.0
PROBE: Final = ArtifactKey("worker/probe")  #: asked for, and never there


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """What the job edits: the source and its references, and more of the source."""

    pictures: Sequence[Image]
    alpha: Image | None
    xmp: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A job that only waits for the card.  Of its pictures the source alone is kept."""

    edit: Edit
    source: Image
    alpha: Image | None
    xmp: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What is left of a job when its picture is made."""

    picture: Image
    suspect: Suspicion | None
    alpha: Image | None
    xmp: bytes | None


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Knows the order of things and nothing about Celery, SQL, S3 or CUDA."""

    ledger: Ledger
    artifacts: ArtifactStore
    engine: Engine
    card: Card
    keeper: LeaseKeeper
    labeller: Labeller | None = None  #: ``None``: pictures say nothing of their making
    patience: float = PATIENCE
    pauses: Callable[[], Iterator[float]] = pauses  #: seconds between tries in place
    on_ended: Callable[[Held, Verdict], None] = lambda _held, _verdict: None
    outage: Outage = field(default_factory=lambda: Outage("store"))

    def run(self, lease: Lease, place: Place, *, came_by: str = "hand") -> Verdict:
        """Never raises: every ending is a verdict, a move in the ledger and a log line."""
        began = time.monotonic()
        with about(lease.facts), self.keeper.keep(lease) as held:
            outcome = self._outcome(held, place)
            # What the frames of a failed edit held on the card is free by now.
            verdict, why = self._announce(held, outcome)
        self.on_ended(held, verdict)
        seconds = time.monotonic() - began
        log.info(
            "attempt_finished",
            extra={
                **lease.facts,
                "came_by": came_by,
                "verdict": verdict.value,
                **({"why": why} if why else {}),
                **facts_of(outcome),
                "seconds": seconds,
                **{f"{stage}_seconds": spent for stage, spent in held.timings.items()},
            },
        )
        return verdict

    def _outcome(self, held: Held, place: Place) -> Outcome:
        try:
            return self._edit_or_wait(held, place)
        except Ordered as ordered:
            return after(ordered.stop)
        except Exception as error:  # the edge: no fault of one job may end the process
            if is_ours(error):
                log.exception("attempt_crashed", extra=held.lease.facts)
            return failure_of(error)

    def _edit_or_wait(self, held: Held, place: Place) -> Outcome:
        """That the bucket is away is no fault of the job's; that one object fails may be."""
        try:
            return self._edit(held, place)
        except Denied:
            raise  # a right that our keys lack: to hand back for ever would help nobody
        except Unavailable:
            if self._bucket_answers(held):
                raise
            return Stop(None, "the bucket is away")

    def look_for_bucket(self) -> None:
        """Without a job in hand nobody else would learn that it is back.

        Raises ``Unavailable`` if it is not.
        """
        if self.outage.lasts and not self.keeper.held():
            self.artifacts.exists(PROBE)
            self.outage.ends()

    def _bucket_answers(self, held: Held) -> bool:
        try:
            aside(lambda: self.artifacts.exists(output_key(held.lease)), held.check)
        except Unavailable:
            return False
        return True

    def _announce(self, held: Held, outcome: Outcome) -> tuple[Verdict, str]:
        """Tell the ledger, for as long as it is away; the verdict, and why it could not be told."""
        verdict = verdict_of(outcome)
        try:
            self._until_answered(held, lambda: self._tell(held, outcome))
        except (Unavailable, LeaseLost) as error:  # the lease decides
            why = str(error)
        except Exception as error:  # the edge again: the lease will run out
            log.exception("ending_crashed", extra=held.lease.facts)
            why = type(error).__name__
        else:
            return verdict, why_of(outcome)
        fatal = verdict is Verdict.WORKER_FATAL  # to this process, whatever the ledger knows
        return verdict if fatal else Verdict.LOST, why

    def _tell(self, held: Held, outcome: Outcome) -> None:
        match outcome:
            case Result():
                self.ledger.complete(held.lease, outcome, timings=held.timings)
            case Failure():
                pause = retry_in(outcome.failure_class, held.job.failures)
                self.ledger.fail(held.lease, outcome, retry_in=pause)
            case Stop(order=Order.CANCEL):
                self.ledger.confirm_cancel(held.lease)
            case Stop(order=None):
                self.ledger.hand_back(held.lease, why=outcome.why)
            case Stop():
                raise LeaseLost(outcome.why)

    def _until_answered(self, held: Held, tell: Callable[[], None]) -> None:
        """Only a ledger that answers the keeper, but not this, ends it: that is no outage.

        While it is away there is nothing else to do here, and nobody can take the job.
        """
        refused = 0.0
        for pause in self.pauses():
            held.comes_to("announce")
            try:
                return tell()
            except Unavailable:
                refused += 0.0 if self.keeper.outage.lasts else pause
                if refused > self.patience:
                    raise
            threading.Event().wait(pause)
        raise AssertionError("pauses never end")

    def _edit(self, held: Held, place: Place) -> Result:
        began = time.monotonic()
        made = self._make(held, place)
        with self._timed(held, "encode"):
            data = self._encode(held, made)
        size, suspect = made.picture.size, made.suspect
        del made  # sending takes long on a slow link, and several jobs do it at once
        result = replace(self._upload(held, data, size), suspect=suspect)
        held.check()
        held.timings["total"] = time.monotonic() - began
        return result

    def _make(self, held: Held, place: Place) -> Made:
        job = self._prepare(held)
        place.is_ready()
        ready = time.monotonic()
        with self.card.taken(lambda: self._check(held), held), self._timed(held, ON_CARD):
            held.timings["wait"] = time.monotonic() - ready
            place.reached_card()
            picture = self._on_card(held, job.edit)
        with self._timed(held, "judge"):
            suspicion = suspicion_of(picture, job.source, held.job.request)
        with self._timed(held, "finish"):
            picture = job.edit.finish(picture)
        return Made(picture=picture, suspect=suspicion, alpha=job.alpha, xmp=job.xmp)

    def _prepare(self, held: Held) -> Ready:
        sources, request = self._fetch(held), held.job.request
        assert request.seed is not None, "the ledger gives every job a seed"
        held.check()
        with self._timed(held, "prepare"):
            edit = self.engine.prepare(sources.pictures, request, seed=request.seed, ask=held.check)
        return Ready(edit=edit, source=sources.pictures[0], alpha=sources.alpha, xmp=sources.xmp)

    def _check(self, held: Held) -> None:
        if self.card.is_broken:
            held.order(None, "the card is lost to this process")
        held.check()

    def _fetch(self, held: Held) -> Sources:
        job = held.job
        with self._timed(held, "fetch"):
            blobs = [
                self._patiently(held, partial(self._input, job.tenant, digest))
                for digest in job.request.pictures
            ]
        with self._timed(held, "decode"):
            decoded = [
                _decoded(held, blob, f"picture {number}")
                for number, blob in enumerate(blobs, start=1)
            ]
            return Sources(
                pictures=[one.picture for one in decoded],
                alpha=decoded[0].alpha if job.request.alpha else None,
                xmp=pictures.xmp_of(blobs[0], name="picture 1"),
            )

    def _input(self, tenant: str, digest: str) -> bytes:
        key = input_key(tenant, digest)
        try:
            return _as_sent(key, digest, self.artifacts.get(key))
        except NoSuchArtifact:
            self.ledger.forget_input(tenant, digest)
            raise

    def _encode(self, held: Held, made: Made) -> bytes:
        request = held.job.request
        xmp = self.labeller.packet(held.job, made.xmp) if self.labeller else None
        return pictures.encode(
            made.picture, request.format, quality=request.quality, alpha=made.alpha, xmp=xmp
        )

    def _on_card(self, held: Held, edit: Edit) -> Image:
        def on_step(done: int, total: int) -> None:
            self.card.step(done, total)
            held.step(done, total)

        return edit.on_card(on_step)

    def _upload(self, held: Held, data: bytes, size: tuple[int, int]) -> Result:
        key = output_key(held.lease)
        media_type = held.job.request.format.media_type
        with self._timed(held, "upload"):
            self._patiently(held, lambda: self.artifacts.put(key, data, media_type=media_type))
        return Result(
            key=key,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            media_type=media_type,
            width=size[0],
            height=size[1],
        )

    def _patiently(self, held: Held, act: Callable[[], T]) -> T:
        """An outage of the bucket must not throw the card's work away, nor spend the budget."""
        deadline = time.monotonic() + self.patience
        for pause in self.pauses():
            held.check()
            try:
                done = aside(act, held.check)
            except Unavailable as error:
                self.outage.begins(error)
                if time.monotonic() + pause > deadline:
                    raise
            else:
                self.outage.ends()
                return done
            held.wait(pause)
        raise AssertionError("pauses never end")

    @contextmanager
    def _timed(self, held: Held, stage: str) -> Iterator[None]:
        held.comes_to(stage)
        began = time.monotonic()
        try:
            yield
        finally:
            held.timings[stage] = time.monotonic() - began


def _as_sent(key: str, digest: str, data: bytes) -> bytes:
    """What a bucket or a proxy has damaged may still be a picture.  Raises ``NoSuchArtifact``."""
    if hashlib.sha256(data).hexdigest() != digest:
        raise NoSuchArtifact(f"{key}: other bytes than were sent; submit the picture again")
    return data


def _decoded(held: Held, blob: bytes, name: str) -> pictures.Decoded:
    held.check()  # a large one takes a second
    return pictures.decode_all(blob, name=name)
