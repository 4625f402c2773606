"""When a queued job will start, from what the jobs of its queue have lately taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from jobs.ledger import POSITION_LIMIT, Place
from jobs.model import Job

RECENT: Final = timedelta(days=1)  # what is older says nothing about the cards of today
SAMPLE: Final = 200  # the newest jobs of a queue that are looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """What a queue does at this moment; all mappings are by profile."""

    workers: int  #: live ones
    running: int  #: jobs on their cards, or about to be
    left: Mapping[str, float] = field(default_factory=dict)  #: of those, in whole jobs
    seconds: Mapping[str, float] = field(default_factory=dict)  #: on the card, of a recent job

    def starts_in(self, before: Mapping[str, int]) -> timedelta | None:
        """With so many jobs to start before it; ``None`` where nothing is known to tell it by.

        All cards share all the work that stands before, so it is right by the mean, and in its
        order of magnitude for each job.
        """
        if not self.workers:
            return None
        if self.running + sum(before.values()) < self.workers:
            return timedelta(0)
        work = [*self.left.items(), *before.items()]
        if any(jobs and profile not in self.seconds for profile, jobs in work):
            return None
        seconds = sum(jobs * self.seconds[profile] for profile, jobs in work if jobs)
        return timedelta(seconds=seconds / self.workers)


def place_of(job: Job, before: Mapping[str, int], pace: Pace) -> Place:
    """``before``: jobs that start before this one, by profile."""
    count = sum(before.values())
    told = job.not_before is None and count < POSITION_LIMIT
    return Place(before=count, starts_in=pace.starts_in(before) if told else None)
