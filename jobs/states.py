"""The life of a job, as data."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    """Where a job stands.  Values are wire format: never rename one."""

    QUEUED = "queued"  #: accepted and durable; nobody is working on it
    RUNNING = "running"  #: one attempt holds the lease
    SUCCEEDED = "succeeded"  #: the result is announced and never changes
    FAILED = "failed"  #: dead letter: no attempt will follow by itself
    CANCELLED = "cancelled"  #: withdrawn by the caller

    @property
    def is_final(self) -> bool:
        return not MOVES[self]


#: The legal moves.  The schema's trigger holds the same table; a test compares the two.
MOVES: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {JobState.SUCCEEDED, JobState.FAILED, JobState.QUEUED, JobState.CANCELLED}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
