"""The card: one job at a time on it, and how soon it will be free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Card:
    """A lock before the engine, which learns from the steps of the job on it."""

    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _since: float | None = None  #: when the job on the card began
    _done: int = 0
    _total: int = 0
    _usual: float = 0.0  #: seconds that a job usually needs; learned

    @contextmanager
    def taken(self) -> Iterator[None]:
        """The card is this thread's until the block ends."""
        with self._lock:
            self._since, self._done, self._total = self.clock(), 0, 0
            try:
                yield
            finally:
                spent = self.clock() - self._since
                self._usual = spent if not self._usual else 0.7 * self._usual + 0.3 * spent
                self._since = None

    def step(self, done: int, total: int) -> None:
        self._done, self._total = done, total

    def free_in(self) -> float:
        """Seconds until the card is free: 0 when it is, an estimate when it is not."""
        since, done, total = self._since, self._done, self._total
        if since is None:
            return 0.0
        spent = self.clock() - since
        if done:
            return max(0.0, spent / done * (total - done))
        return max(0.0, self._usual - spent) if self._usual else float("inf")
