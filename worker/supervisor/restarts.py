"""When the next process of a card may start, and when the card is taken out."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from worker.supervisor.endings import Ended, Ending

#: A process that worked for so long, in seconds, tells nothing of the ones before.
HEALTHY: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """All times in seconds."""

    first_pause: float = 1.0  #: at most; the pauses double
    longest_pause: float = 60.0
    failures: int = 5  #: so many take a card out …
    within: float = 600.0  #: … if they fall in so many seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What follows from an ending: a start after ``pause`` seconds, or none and why."""

    pause: float = 0.0
    out: str = ""


@dataclass(kw_only=True)
class Restarts:
    """One card's history.  Full jitter, so that the cards of a fleet do not start as one.

    Source: AWS Builders' Library, "Timeouts, retries and backoff with jitter".
    """

    limits: Limits = field(default_factory=Limits)
    pick: Callable[[float, float], float] = random.uniform
    total: int = 0  #: restarts so far
    _in_a_row: int = 0
    _failures: deque[float] = field(default_factory=deque)

    def after(self, ended: Ended, *, now: float, worked: float) -> Verdict:
        """``worked``: seconds from when the process was ready until it ended, 0 if it never was."""
        if ended.ending is Ending.SETTINGS:
            return Verdict(out=ended.reason)
        if worked >= HEALTHY:
            self._in_a_row = 0
        if ended.ending.blames_card and self._is_one_too_many(now):
            many, span = len(self._failures), self.limits.within
            return Verdict(out=f"{many} failures in {span:g} s, the last one: {ended.reason}")
        self.total += 1
        self._in_a_row += 1
        doublings = min(self._in_a_row - 1, 16)
        most = min(self.limits.longest_pause, self.limits.first_pause * 2**doublings)
        return Verdict(pause=self.pick(0.0, most))

    def forgive(self) -> None:
        """An operator has looked at the card, or brings another environment."""
        self._in_a_row = 0
        self._failures.clear()

    def _is_one_too_many(self, now: float) -> bool:
        self._failures.append(now)
        while self._failures[0] <= now - self.limits.within:
            self._failures.popleft()
        return len(self._failures) >= self.limits.failures
