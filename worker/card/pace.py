"""How long the job on the card will still need: by its own steps, and by jobs like it before."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final, Self

#: Of what is usual, how much the newest job decides.
NEWEST: Final = 0.3
#: A job that took so many times the usual span for its first step is not as usual.
OVERDUE: Final = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One job on the card.  Moments are seconds of the card's clock."""

    kind: Hashable  #: jobs of one kind take equally long
    began: float
    at: float  #: the last step's end
    done: int = 0
    total: int = 0
    #: The step's end from which the pace is taken, and its number.  The first one that was seen,
    #: as soon as there is another: before the first step a text is encoded.
    since: float
    since_done: int = 0

    @classmethod
    def begin(cls, now: float, kind: Hashable = None) -> Self:
        return cls(kind=kind, began=now, at=now, since=now)

    def step(self, now: float, done: int, total: int) -> Progress:
        if done < self.done:  # a second try, after a lack of memory
            return replace(Progress.begin(now, self.kind), done=done, total=total)
        if done == self.done:  # said again, where the edit could have been ended
            return replace(self, total=total)
        later = replace(self, at=now, done=done, total=total)
        return replace(later, since=self.at, since_done=self.done) if self._is_first else later

    @property
    def left(self) -> int:
        return self.total - self.done

    @property
    def pace(self) -> float:
        """Seconds a step."""
        return (self.at - self.since) / (self.done - self.since_done)

    @property
    def _is_first(self) -> bool:
        return self.done > 0 and self.since_done == 0


@dataclass(slots=True)
class Experience:
    """What jobs on this card have shown."""

    _usual: dict[Hashable, float] = field(default_factory=dict)  #: seconds of a job, by kind
    _tail: float = 0.0  #: seconds after the last step: a picture is decoded

    def learn(self, job: Progress, now: float) -> None:
        """The job ended well, ``now``."""
        self._usual[job.kind] = _towards(self._usual.get(job.kind), now - job.began)
        if job.done and not job.left:
            self._tail = _towards(self._tail, now - job.at)

    @property
    def longest(self) -> float:
        return max(self._usual.values(), default=inf)

    def remaining(self, job: Progress, now: float) -> float:
        """Seconds until the job leaves the card; infinite if nothing is known."""
        if not job.done:
            return self._by_the_usual(job, now - job.began)
        due = job.at + job.pace * job.left + self._tail
        # However long the present step takes, those after it are still to come.
        after = job.pace * (job.left - 1) + self._tail if job.left > 0 else 0.0
        return max(due - now, after)

    def _by_the_usual(self, job: Progress, spent: float) -> float:
        usual = self._usual.get(job.kind, 0.0)
        return max(0.0, usual - spent) if spent < OVERDUE * usual else inf


def _towards(mean: float | None, newest: float) -> float:
    return newest if not mean else (1 - NEWEST) * mean + NEWEST * newest
