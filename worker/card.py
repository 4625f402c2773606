"""The card: one job at a time on it, and how soon it will be free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from jobs.errors import WorkerFatal
from worker.held import Held

#: How often a job that waits for the card asks whether it still should: seconds.
ASK_EVERY: Final = 0.1


@dataclass
class Card:
    """A lock before the engine, which learns from the steps of the job on it."""

    clock: Callable[[], float] = time.monotonic
    is_broken: bool = False  #: only a new process helps
    signs: int = 0  #: of life: rises when a job comes on the card, and at each of its steps
    held: Held | None = None  #: the job on the card
    thread: int = 0  #: the one that had the card last
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: When the job on the card began, its steps done, and all of them.  One value, so that a
    #: reader never sees the start of one job beside the steps of another.
    _job: tuple[float, int, int] | None = None
    _usual: float = 0.0  #: seconds that a job usually needs; learned

    @contextmanager
    def taken(self, check: Callable[[], None], held: Held | None = None) -> Iterator[None]:
        """The card is this thread's, for the job ``held``, until the block ends.

        ``check`` is called while the card is another's, and once it is ours: it may raise.
        """
        while not self._lock.acquire(timeout=ASK_EVERY):
            check()
        try:
            check()
            with self._working(held):
                yield
        finally:
            self._lock.release()

    @contextmanager
    def _working(self, held: Held | None) -> Iterator[None]:
        began = self.clock()
        self._job, self.held = (began, 0, 0), held
        self.thread = threading.get_ident()
        self.signs += 1
        try:
            yield
        except WorkerFatal:
            self.is_broken = True
            raise
        else:  # who was interrupted says nothing about the others
            spent = self.clock() - began
            self._usual = spent if not self._usual else 0.7 * self._usual + 0.3 * spent
        finally:
            self._job = self.held = None

    def step(self, done: int, total: int) -> None:
        self.signs += 1
        if self._job is not None:
            self._job = (self._job[0], done, total)

    def free_in(self) -> float:
        """Seconds until the card is free: 0 when it is, an estimate when it is not."""
        job = self._job
        if job is None:
            return 0.0
        since, done, total = job
        spent = self.clock() - since
        if done:
            return max(0.0, spent / done * (total - done))
        return max(0.0, self._usual - spent) if self._usual else float("inf")
