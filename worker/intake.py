"""How jobs come in: by a message from Redis, or, when none comes, from the ledger itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from jobs.errors import Unavailable
from jobs.ledger import Ledger
from jobs.model import JobId, Lease, WorkerInfo
from worker.gate import MAX_AFTER, Gate, Place
from worker.pulse import Pulse
from worker.runner import Runner, Verdict

log = logging.getLogger(__name__)

#: How often the gate is looked at: seconds.
LOOK: Final = 0.02
#: An open gate waits this long for a message before it asks the ledger: seconds.
PATIENCE: Final = 0.06
#: Between two looks into an empty ledger: seconds.
IDLE: Final = 0.5


@dataclass(kw_only=True)
class Intake:
    """Admits at most what the gate has room for, whichever way a job comes."""

    ledger: Ledger
    worker: WorkerInfo
    runner: Runner
    gate: Gate
    lease: timedelta
    on_fatal: Callable[[], None]  #: called after a verdict that only a new process heals
    clock: Callable[[], float] = time.monotonic
    messages: int = 0  #: jobs in hand that came by a message
    came: int = 0  #: messages in all
    in_vain: int = 0  #: how often in a row the gate stood open and no message came
    pulse: Pulse = field(default_factory=Pulse)  #: beats after each look
    _patience: float = PATIENCE
    _done: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._since = self.clock()  # how long the gate is open, or nothing was found
        self._pool = ThreadPoolExecutor(MAX_AFTER + 2, thread_name_prefix="attempt")
        self._thread = threading.Thread(target=self._help_ourselves, name="intake", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Claim no more; what is in hand goes on."""
        self.gate.close()
        self._done.set()

    def wants_message(self, received: int) -> bool:
        """May the consumer take a message, with ``received`` ones not yet ended?"""
        return received <= self.messages and self.gate.is_open

    def message(self, job_id: JobId) -> None:
        """Work on the job that a message named, or on the one whose turn it is before it."""
        self.came += 1
        self.in_vain = 0
        # Even one whose job is done tells that messages come: who helps itself now would leave
        # yet another such message behind.
        self._since, self._patience = self.clock(), PATIENCE
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
                self._work(lease, place, came_by="message")

    def _help_ourselves(self) -> None:
        while not self._done.wait(LOOK):
            try:
                self.look()
            except Exception:
                # Without this thread the card would depend on Redis.
                log.exception("intake_crashed")
            self.pulse.beat()

    def look(self) -> None:
        """Cards work without Redis: with the gate open and no message, claim the next job."""
        now = self.clock()
        if not self.gate.is_open:
            self._since, self._patience = now, PATIENCE
        elif now - self._since >= self._patience:
            self._since, self._patience = now, IDLE
            self.in_vain += 1
            if self._claim_next():
                self._patience = PATIENCE

    def _claim_next(self) -> bool:
        with ExitStack() as stack:
            place = self.gate.admit()
            if place is None:
                return False
            stack.enter_context(place)
            lease = self._quietly(lambda: self.ledger.claim_next(self.worker, lease=self.lease))
            if lease is None:
                return False
            self._pool.submit(self._admitted, lease, place)
            stack.pop_all()  # the attempt leaves the place
            return True

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

    def _quietly(self, ask: Callable[[], Lease | None] | Callable[[], None]) -> Lease | None:
        """A ledger that is away is no error here: the job stays where it is."""
        try:
            return ask()
        except Unavailable as error:
            log.debug("ledger_away", extra={"reason": str(error)})  # the keeper tells it once
            return None
