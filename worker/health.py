"""Is this process alive, and ready?  Answered from what it sees itself, never through the broker.

A liveness that needed Redis would turn its outage into a restart of every worker, and each
restart loads a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from jobs.ledger import WORKER_TIMEOUT
from worker.attempt.watchdog import Watchdog
from worker.card.card import Card
from worker.pages import Page, Pages, well
from worker.pulse import Pulse
from worker.tally import Tally

#: A loop that is silent for longer stands still: seconds.  A round may wait for a frozen ledger
#: (``jobs.postgres.connection``) twice over.
LOOP_LIMIT: Final = 90.0
#: Silent for longer, the ledger counts the worker as gone.
LEDGER_LIMIT: Final = WORKER_TIMEOUT.total_seconds()


class Phase(StrEnum):
    LOADING = "loading"
    WORKING = "working"
    DRAINING = "draining"


class Health:
    """Collects what the parts of a worker show of themselves."""

    def __init__(self, release: str = "") -> None:
        self.release = release  #: digest; empty: started from none
        self.phase = Phase.LOADING
        self.tally = Tally()
        self._loops: Mapping[str, Pulse] = {}
        self._ledger: Pulse | None = None
        self._watchdog: Watchdog | None = None

    def watch(
        self, *, leases: Pulse, intake: Pulse, ledger: Pulse, watchdog: Watchdog, card: Card
    ) -> None:
        """From now on the process works, and these are its signs of life."""
        self._loops = {"leases": leases, "intake": intake}
        self._ledger = ledger
        self._watchdog = watchdog
        self.tally.watch(lambda: card.held is not None)
        self.phase = Phase.WORKING

    def why_not_live(self) -> list[str]:
        """What only a new process heals."""
        still = {name: pulse.age for name, pulse in self._loops.items()}
        if self.phase is Phase.DRAINING:
            still.pop("intake", None)  # it has ended
        problems = [
            f"the loop of {name} stands still for {age:.0f} s"
            for name, age in still.items()
            if age > LOOP_LIMIT
        ]
        if self._watchdog is not None and self._watchdog.hung is not None:
            problems.append(self._watchdog.hung.why)
        return problems

    def why_not_ready(self) -> list[str]:
        """Why nobody should count on this worker now."""
        problems = self.why_not_live()
        if self.phase is not Phase.WORKING:
            problems.append(f"the worker is {self.phase}")
        if self._ledger is not None and self._ledger.age > LEDGER_LIMIT:
            problems.append(f"the ledger has not answered for {self._ledger.age:.0f} s")
        return problems

    def pages(self) -> Pages:
        return {
            "/livez": lambda: self._page(self.why_not_live()),
            "/readyz": lambda: self._page(self.why_not_ready()),
            "/metrics": self.tally.page,
        }

    def _page(self, problems: list[str]) -> Page:
        return well(problems, phase=self.phase, release=self.release)
