"""Tells the ledger of dead workers, so that their jobs need not wait for the lease."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from jobs.errors import Unavailable
from jobs.ledger import Ledger

log = logging.getLogger(__name__)

PAUSE: Final = 0.5  # seconds between two tries


class Losses(Protocol):
    def report(self, worker_id: UUID, why: str) -> None:
        """The process of this worker was seen to end.  Returns at once."""

    def settle(self) -> None:
        """Wait a moment for what was reported last."""


@dataclass(kw_only=True)
class LedgerLosses:
    """On a thread for each: the ledger may be away or frozen, and the cards go on.

    Tried for as long as the lease lasts; then it has run out by itself.
    """

    ledger: Ledger
    lease: float  #: seconds
    _threads: list[threading.Thread] = field(default_factory=list)

    def report(self, worker_id: UUID, why: str) -> None:
        self._threads = [one for one in self._threads if one.is_alive()]
        thread = threading.Thread(target=self._tell, args=(worker_id, why), daemon=True)
        thread.start()
        self._threads.append(thread)

    @property
    def is_busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def settle(self) -> None:
        deadline = time.monotonic() + self.lease
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _tell(self, worker_id: UUID, why: str) -> None:
        deadline, pause = time.monotonic() + self.lease, threading.Event()
        while True:
            try:
                jobs = self.ledger.lose_worker(worker_id, why=why)
            except Unavailable as error:
                if time.monotonic() > deadline:
                    facts = {"worker_id": str(worker_id), "reason": str(error)}
                    log.warning("loss_untold", extra=facts)
                    return
                pause.wait(PAUSE)
            else:
                for job in jobs:
                    log.warning("job_lost", extra=job.facts)
                return
