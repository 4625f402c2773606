"""One job in this process's hands: its lease, its progress, and what was ordered."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

from jobs.model import Holding, Job, Lease, Order
from worker.engine.base import Interrupted

#: The one stage of a job in which it keeps the card from all others.
ON_CARD: Final = "card"


@dataclass(frozen=True, slots=True)
class Stop:
    """A job is to end unfinished.  Without an order of the ledger: give it back."""

    order: Order | None
    why: str


class Ordered(Interrupted):
    """The ledger, or this process's end, told this job to stop."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.why)
        self.stop = stop


@dataclass(eq=False)
class Held:
    """Written by the thread that works on it (progress) and the keeper's (orders)."""

    lease: Lease
    steps_done: int = 0
    steps_total: int = 0
    timings: dict[str, float] = field(default_factory=dict)  #: seconds by stage
    stage: str = ""  #: what its thread is at
    signs: int = 0  #: of life: rises when its thread comes to something else, or asks for orders
    thread: int = field(default_factory=threading.get_ident)
    _stop: Stop | None = None
    _told: threading.Event = field(default_factory=threading.Event)

    @property
    def job(self) -> Job:
        return self.lease.job

    def order(self, order: Order | None, why: str) -> None:
        """From now on ``check`` raises; the first order stands, but for a lost lease."""
        if self._stop is None or order is Order.LOST:
            self._stop = Stop(order, why)
            self._told.set()

    def check(self) -> None:
        """Raise ``Ordered`` if this job is to stop; a sign of life."""
        self.signs += 1
        # A fresh one each time: an exception keeps the frames that it passed through alive,
        # and with them what the engine has on the card.
        if self._stop is not None:
            raise Ordered(self._stop)

    def wait(self, seconds: float) -> None:
        """Do nothing for a while; raise ``Ordered`` as soon as this job is to stop."""
        self._told.wait(seconds)
        self.check()

    def comes_to(self, stage: str) -> None:
        self.stage = stage
        self.signs += 1

    def step(self, done: int, total: int) -> None:
        """The engine's ``OnStep``."""
        self.steps_done, self.steps_total = done, total
        self.check()

    def holding(self) -> Holding:
        return Holding(
            job_id=self.job.id,
            attempt=self.lease.attempt,
            steps_done=self.steps_done,
            steps_total=self.steps_total,
        )
