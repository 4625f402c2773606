"""A circuit breaker: after a failure, do not try again for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

FIRST_PAUSE: Final = 0.5  # seconds
LONGEST_PAUSE: Final = 15.0  # seconds


@dataclass
class Breaker:
    """Closed: try.  Open: do not.  The pause doubles with each failure in a row."""

    clock: Callable[[], float] = time.monotonic
    _failures: int = 0
    _open_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_open(self) -> bool:
        with self._lock:
            return self.clock() < self._open_until

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._open_until = 0, 0.0

    def failed(self) -> None:
        with self._lock:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._failures)
            self._failures = min(self._failures + 1, 16)
            self._open_until = self.clock() + pause
