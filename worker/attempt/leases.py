"""Keeps the leases of this process alive, and brings the ledger's orders to the jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from jobs.errors import Unavailable
from jobs.ledger import LEASE, WORKER_TIMEOUT, Ledger
from jobs.model import Lease, Order, WorkerInfo
from jobs.outage import Outage
from worker.held import Held
from worker.pulse import Pulse

log = logging.getLogger(__name__)

#: How often one statement renews all leases; a cancel is seen this soon.
EVERY: Final = timedelta(seconds=0.5)
#: A worker whom the ledger answered since then is alive to it, unless it was never heard of.
LATELY: Final = WORKER_TIMEOUT / 2
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
        self.outage = Outage("ledger")  #: lasts: it did not answer the last round
        self.pulse = Pulse()  #: beats after each round
        self.answered = Pulse()  #: beats when the ledger has answered
        self._held: list[Held] = []  # in the order of their claims
        self._ending: str | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()
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
        with self._lock:
            self._outdate(lease)
            self._held.append(held)
            if self._ending is not None:
                held.order(None, self._ending)
        try:
            yield held
        finally:
            with self._lock:
                self._held.remove(held)

    def _outdate(self, lease: Lease) -> None:
        """A later attempt of the same job, even one of our own, proves the earlier one lost."""
        for one in self._held:
            if one.job.id == lease.job.id:
                one.order(Order.LOST, WHY[Order.LOST])

    def held(self) -> list[Held]:
        with self._lock:
            return list(self._held)

    def give_back(self, why: str) -> None:
        """Order every job in hand, and every one still to come, to be handed back, uncounted."""
        with self._lock:
            self._ending = why
            for one in self._held:
                one.order(None, why)

    def renew(self) -> None:
        """Renew all leases in one statement, and pass its orders on.  Raises ``Unavailable``."""
        held = {one.job.id: one for one in self.held()}  # of two attempts, the later
        orders = self.ledger.renew(
            self.worker.id, [one.holding() for one in held.values()], lease=self.lease
        )
        for job_id, order in orders.items():
            if order is not Order.CONTINUE:
                held[job_id].order(order, WHY[order])

    def is_unknown(self) -> bool:
        """To a ledger that answers.  Raises ``Unavailable``.

        One that has not answered for long takes this worker for gone, and will see it again by
        itself.
        """
        if self.answered.age > LATELY.total_seconds():
            return False
        return self.worker.id not in {one.id for one in self.ledger.live_workers()}

    def _run(self) -> None:
        while not self._done.wait(self._every):
            try:
                self._round()
            except Exception:
                # Without this thread every lease of this process would run out.
                log.exception("renewal_crashed")
            self.pulse.beat()

    def _round(self) -> None:
        try:
            self.renew()
        except Unavailable as error:
            self.outage.begins(error)
        else:
            self.answered.beat()
            self.outage.ends()
