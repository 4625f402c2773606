"""Keeps the leases of this process alive, and brings the ledger's orders to the jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from jobs.errors import Unavailable
from jobs.ledger import LEASE, Ledger
from jobs.model import Lease, Order, WorkerInfo
from worker.held import Held

log = logging.getLogger(__name__)

#: How often one statement renews all leases; a cancel is seen this soon.
EVERY: Final = timedelta(seconds=0.5)
WHY: Final = {
    Order.CANCEL: "cancelled by the caller",
    Order.STOP: "ran past its limit",
    Order.LOST: "another attempt owns the job",
}


class LeaseKeeper:
    """One thread renews every lease this process holds.

    A ledger that does not answer ends nothing here: while it is away nobody else can
    take a job, and when it is back the fence decides.
    """

    def __init__(
        self,
        ledger: Ledger,
        worker: WorkerInfo,
        *,
        lease: timedelta = LEASE,
        every: timedelta = EVERY,
    ) -> None:
        self.ledger = ledger
        self.worker = worker
        self.lease = lease
        self._every = min(every, lease / 4).total_seconds()
        self._held: dict[tuple[object, int], Held] = {}
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join(timeout=5)

    @contextmanager
    def keep(self, lease: Lease) -> Iterator[Held]:
        """Renew ``lease`` until the block ends."""
        held = Held(lease)
        key = (lease.job.id, lease.attempt)
        with self._lock:
            self._held[key] = held
            self._idle.clear()
        try:
            yield held
        finally:
            with self._lock:
                del self._held[key]
                if not self._held:
                    self._idle.set()

    def held(self) -> list[Held]:
        with self._lock:
            return list(self._held.values())

    def give_back(self, why: str) -> None:
        """Order every job in hand to be handed back, uncounted."""
        for one in self.held():
            one.order(None, why)

    def wait_idle(self, timeout: float) -> bool:
        """True once no job is in hand; ``timeout`` in seconds."""
        return self._idle.wait(timeout)

    def renew(self) -> None:
        """One round.  Raises ``Unavailable``."""
        held = {one.job.id: one for one in self.held()}
        orders = self.ledger.renew(
            self.worker.id, [one.holding() for one in held.values()], lease=self.lease
        )
        for job_id, order in orders.items():
            if order is not Order.CONTINUE:
                held[job_id].order(order, WHY[order])

    def _run(self) -> None:
        away = False
        while not self._done.wait(self._every):
            try:
                self.renew()
            except Unavailable as error:
                if not away:
                    log.warning("renewal_missed", extra={"reason": str(error)})
                away = True
            else:
                away = False
