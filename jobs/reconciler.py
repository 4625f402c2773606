"""Makes ledger and broker agree: expired leases, jobs the broker has not seen or has lost."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from jobs.dispatch import Dispatcher
from jobs.errors import Unavailable
from jobs.ledger import Ledger
from jobs.model import JobId

log = logging.getLogger(__name__)

#: Messages per live worker and queue: enough that a worker never waits for one.
WINDOW_PER_WORKER: Final = 4
#: A message younger than this may still be on its way.
GRACE: Final = timedelta(seconds=5)
#: A message older than this counts as lost, wherever it may be.
TOO_OLD: Final = timedelta(minutes=10)
#: After an outage of the ledger, seconds in which workers renew the leases they still hold.
REUNION: Final = 5.0


@dataclass(kw_only=True, slots=True)
class Reconciler:
    """Any number of them may tick at once, on any host; none is the leader.

    Each step is a short statement that skips what another holds, so a reconciler that
    is stopped in the middle keeps nothing from the others.
    """

    ledger: Ledger
    dispatcher: Dispatcher
    clock: Callable[[], float] = time.monotonic
    _spare_until: float = -math.inf

    def tick(self) -> None:
        """One pass.  Raises ``Unavailable`` if the ledger is away; Redis may be."""
        queues = self._queues()
        if self.clock() >= self._spare_until:
            self.expire()
        for queue, workers in queues.items():
            if workers:
                self.ledger.wake(queue)
                self.forget_lost(queue)
                self.fill(queue, workers)
            else:
                self.reroute(queue)

    def _queues(self) -> Mapping[str, int]:
        try:
            return self.ledger.queues()
        except Unavailable:
            # Leases ran out meanwhile, of workers that are as alive as this one.
            self._spare_until = self.clock() + REUNION
            raise

    def expire(self) -> None:
        """End what nobody will."""
        for job in self.ledger.expire():
            log.warning("job_expired", extra=job.facts)

    def reroute(self, queue: str) -> None:
        """Whose workers are all gone, or never came, may be served by others meanwhile."""
        moved = self.ledger.reroute(queue)
        if moved:
            log.info("jobs_rerouted", extra={"queue": queue, "count": moved})

    def fill(self, queue: str, workers: int = 1) -> None:
        """Top up the window of one queue; without live workers it has none."""
        if not workers or not self.dispatcher.ready():
            return
        window = WINDOW_PER_WORKER * workers
        with self.dispatcher.turn(queue) as mine:
            room = self._room(queue, window) if mine else 0
            if room > 0:
                self._send(queue, self.ledger.take_window(queue, size=window, most=room))

    def _send(self, queue: str, job_ids: Sequence[JobId]) -> None:
        if not job_ids:
            return
        try:
            self.dispatcher.dispatch(queue, job_ids)
        except Unavailable as error:
            # Some may have gone out: they end at "claim".
            self.ledger.undispatch(job_ids)
            log.warning("dispatch_deferred", extra={"queue": queue, "reason": str(error)})

    def _room(self, queue: str, most: int) -> int:
        """A worker that helps itself leaves the job's message behind: those must not pile up."""
        try:
            return most - self.dispatcher.length(queue)
        except Unavailable:
            return 0

    def forget_lost(self, queue: str) -> None:
        """Let jobs be dispatched again whose messages are provably gone, or too old."""
        standing = set(self.ledger.standing(queue, older_than=GRACE))
        if not standing or not self.dispatcher.ready():
            return
        try:
            gone = standing - self.dispatcher.waiting(queue)
        except Unavailable:
            return
        gone |= set(self.ledger.standing(queue, older_than=TOO_OLD))
        if gone:
            self.ledger.undispatch(sorted(gone))
            log.warning("messages_lost", extra={"queue": queue, "count": len(gone)})
