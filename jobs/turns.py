"""Who was served last: of two tenants with an equal claim to a card, the other one goes first."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Final

REMEMBERED: Final = 256  # tenants of a queue; one that is forgotten counts as never served


class Served:
    """What one process has claimed.  Thread-safe.

    The ledger knows who runs how many jobs now, which is all that matters while several cards
    work; a single card between two jobs runs none, and would take the oldest for ever.
    """

    def __init__(self) -> None:
        self._tenants: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._lock = threading.Lock()

    def note(self, queue: str, tenant: str) -> None:
        with self._lock:
            tenants = self._tenants[queue]
            tenants.pop(tenant, None)
            tenants[tenant] = None
            if len(tenants) > REMEMBERED:
                del tenants[next(iter(tenants))]

    def of(self, queue: str) -> list[str]:
        """The one that was served last stands last."""
        with self._lock:
            return [*self._tenants[queue]]
