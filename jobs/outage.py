"""A service that is away: told once when it goes, and once when it is back."""

from __future__ import annotations

import logging
import threading

log = logging.getLogger(__name__)


class Outage:
    """Thread-safe.  In the log: ``<service>_away`` with the reason, and ``<service>_back``."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._changing = threading.Lock()
        self.lasts = False

    def begins(self, reason: object) -> None:
        if self._turns(lasts=True):
            log.warning("%s_away", self.service, extra={"reason": str(reason)})

    def ends(self) -> None:
        if self._turns(lasts=False):
            log.info("%s_back", self.service)

    def _turns(self, *, lasts: bool) -> bool:
        with self._changing:
            before, self.lasts = self.lasts, lasts
        return before != lasts
