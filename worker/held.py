"""One job in this process's hands: its lease, its progress, and what was ordered."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.model import Holding, Job, Lease, Order
from worker.engine.base import Interrupted


class Ordered(Interrupted):
    """The ledger, or this process's end, told this job to stop."""

    def __init__(self, order: Order | None, why: str) -> None:
        super().__init__(why)
        self.order = order  #: ``None``: give the job back
        self.why = why


@dataclass
class Held:
    """Written by the card's thread (progress) and the keeper's (orders)."""

    lease: Lease
    steps_done: int = 0
    steps_total: int = 0
    timings: dict[str, float] = field(default_factory=dict)  #: seconds by stage
    _stop: Ordered | None = None

    @property
    def job(self) -> Job:
        return self.lease.job

    @property
    def is_lost(self) -> bool:
        return self._stop is not None and self._stop.order is Order.LOST

    def order(self, order: Order | None, why: str) -> None:
        """From now on ``check`` raises; the first order stands, but for a lost lease."""
        if self._stop is None or order is Order.LOST:
            self._stop = Ordered(order, why)

    def check(self) -> None:
        """Raise ``Ordered`` if this job is to stop."""
        if self._stop is not None:
            raise self._stop

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
