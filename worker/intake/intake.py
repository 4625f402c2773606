"""How jobs come in: by a message from Redis, or, when none comes, from the ledger itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from math import inf
from typing import Final, Self, TypeVar

from jobs.errors import Unavailable
from jobs.ledger import Ledger
from jobs.model import JobId, Lease, WorkerInfo
from worker.attempt.outcomes import Verdict
from worker.attempt.runner import Runner
from worker.card.gate import MAX_IN_HAND, PATIENCE, Gate, Place
from worker.pulse import Pulse

log = logging.getLogger(__name__)
T = TypeVar("T")

#: After no message came for a job that the ledger had, the next ones are taken from there at
#: once, for so many seconds: a window in Redis that is worked off is filled by the next tick.
ALONE: Final = 0.5
#: Between two looks into an empty ledger: seconds.
IDLE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Opening:
    """The gate stands open, or nothing was found: when the ledger is asked."""

    until: float  #: by the intake's clock
    patience: float  #: seconds that a message has had to come, by then

    @classmethod
    def at(cls, now: float, patience: float = PATIENCE) -> Self:
        return cls(now + patience, patience)


@dataclass(kw_only=True)
class Intake:
    """Admits at most what the gate has room for, whichever way a job comes."""

    ledger: Ledger
    worker: WorkerInfo
    runner: Runner
    gate: Gate
    lease: timedelta
    on_fatal: Callable[[], None]  #: called after a verdict that only a new process heals
    on_open: Callable[[], None] = lambda: None  #: called when a message may be taken again
    clock: Callable[[], float] = time.monotonic
    messages: int = 0  #: jobs in hand that came by a message
    came: int = 0  #: messages in all
    in_vain: int = 0  #: how often in a row the gate stood open and no message came
    pulse: Pulse = field(default_factory=Pulse)  #: beats after each look
    _done: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._open: Opening | None = Opening.at(self.clock())  # ``None``: it was last seen shut
        self._alone_until = -inf
        self._pool = ThreadPoolExecutor(MAX_IN_HAND, thread_name_prefix="attempt")
        self._thread = threading.Thread(target=self._help_ourselves, name="intake", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Claim no more; what is in hand goes on."""
        self.gate.close()
        self._done.set()
        self.gate.news.set()

    def wants_message(self, received: int) -> bool:
        """May the consumer take a message, with ``received`` ones not yet ended?"""
        return received <= self.messages and self.gate.is_open

    def message(self, job_id: JobId) -> None:
        """Work on the job that a message named, or on the one whose turn it is before it."""
        self.came += 1
        self.in_vain = 0
        # Even one whose job is done tells that messages come: who helps itself now would leave
        # yet another such message behind.
        self._alone_until = -inf
        self._open = Opening.at(self.clock())
        place = self.gate.admit()
        if place is None:
            # Its hint is used up: let the reconciler, or an idle worker, see it again.
            self._quietly(lambda: self.ledger.undispatch([job_id]))
            return
        with self._counted(), place:
            lease = self._quietly(
                lambda: self.ledger.claim_next(self.worker, named=job_id, lease=self.lease)
            )
            if lease is not None:
                if lease.job.id != job_id:  # its hint is used up for another's turn
                    self._quietly(lambda: self.ledger.undispatch([job_id]))
                self._work(lease, place, came_by="message")

    def _help_ourselves(self) -> None:
        while not self._done.is_set():
            self.gate.news.wait(min(IDLE, self.due_in()))
            self.gate.news.clear()
            try:
                self.look()
            except Exception:
                # Without this thread the card would depend on Redis.
                log.exception("intake_crashed")
            self.pulse.beat()

    def due_in(self) -> float:
        """Seconds until ``look`` has something to do, unless the gate has news before."""
        shut_for, opening = self.gate.opens_in(), self._open
        if shut_for or opening is None:
            return shut_for
        return max(0.0, opening.until - self.clock())

    def look(self) -> None:
        """Cards work without Redis: with the gate open and no message, claim the next job."""
        now = self.clock()
        if not self.gate.is_open:
            self._open = None
            return
        opening = self._open or self._opened(now)
        if now >= opening.until:
            self._ask_the_ledger(now, opening.patience)

    def _opened(self, now: float) -> Opening:
        alone = now < self._alone_until
        self._open = opening = Opening.at(now, 0.0 if alone else PATIENCE)
        if not alone:
            self.on_open()
        return opening

    def _ask_the_ledger(self, now: float, waited: float) -> None:
        self._open = Opening.at(now, IDLE)
        self.in_vain += bool(waited)  # else no message had the time to come
        if self._claim_next():
            self._open = None
            if waited:
                self._alone_until = now + ALONE

    def _claim_next(self) -> bool:
        with ExitStack() as stack:
            first = self.gate.admit()
            if first is None:
                return False
            places = [first, *self.gate.admit_more()]
            for place in places:
                stack.enter_context(place)
            leases = self._claimed(len(places))
            for lease, place in zip(leases, places, strict=False):
                self._pool.submit(self._admitted, lease, place)
            stack.pop_all()  # the attempts leave their places
            for place in places[len(leases) :]:
                self.gate.left(place)
            return bool(leases)

    def _claimed(self, most: int) -> Sequence[Lease]:
        """One, but for jobs of a few milliseconds, which the commit of each would outlast."""
        if most > 1:
            ask = partial(self.ledger.claim_some, self.worker, most=most, lease=self.lease)
            return self._quietly(ask) or ()
        one = self._quietly(lambda: self.ledger.claim_next(self.worker, lease=self.lease))
        return () if one is None else (one,)

    def _admitted(self, lease: Lease, place: Place) -> None:
        with place:
            self._work(lease, place, came_by="claim")

    def _work(self, lease: Lease, place: Place, *, came_by: str) -> None:
        if self.runner.run(lease, place, came_by=came_by) is Verdict.WORKER_FATAL:
            self.on_fatal()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self.messages += 1
        try:
            yield
        finally:
            with self._lock:
                self.messages -= 1

    def _quietly(self, ask: Callable[[], T]) -> T | None:
        """A ledger that is away is no error here: the job stays where it is."""
        try:
            return ask()
        except Unavailable as error:
            log.debug("ledger_away", extra={"reason": str(error)})  # the keeper tells it once
            return None
