"""The card: one job at a time on it, and how soon it will be free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from jobs.errors import WorkerFatal
from worker.card.pace import Experience, Progress
from worker.held import Held

#: How often a job that waits for the card asks whether it still should: seconds.
ASK_EVERY: Final = 0.1


@dataclass
class Card:
    """A lock before the engine, which learns from the steps of the job on it."""

    clock: Callable[[], float] = time.monotonic
    is_broken: bool = False  #: only a new process helps
    held: Held | None = None  #: the job on the card
    #: Called, from any thread, whenever ``free_in`` may have become less than it was to be.
    on_change: Callable[[], None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: One value, so that a reader never sees the start of one job beside the steps of another.
    _progress: Progress | None = None
    _experience: Experience = field(default_factory=Experience)

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
            self.on_change()

    @contextmanager
    def _working(self, held: Held | None) -> Iterator[None]:
        self._progress = Progress.begin(self.clock(), _kind(held))
        self.held = held
        try:
            yield
        except WorkerFatal:
            self.is_broken = True
            raise
        else:  # who was interrupted says nothing about the others
            self._experience.learn(self._progress, self.clock())
        finally:
            self._progress = self.held = None

    def step(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress = self._progress.step(self.clock(), done, total)
            self.on_change()

    @property
    def usual(self) -> float:
        """Seconds that the longest kind of job takes; infinite if nothing is known."""
        return self._experience.longest

    def free_in(self) -> float:
        """Seconds until the card is free: 0 when it is, an estimate when it is not."""
        job = self._progress
        return 0.0 if job is None else self._experience.remaining(job, self.clock())


def _kind(held: Held | None) -> Hashable:
    """What decides how long a job takes, as far as it can be told beforehand."""
    if held is None:
        return None
    request = held.job.request
    return request.profile, request.steps, len(request.pictures)
