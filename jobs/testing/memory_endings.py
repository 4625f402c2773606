"""What the reconciler ends in the ledger in memory."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from jobs.errors import FailureClass
from jobs.ledger import SECOND_LOSS
from jobs.model import Failure, Job
from jobs.states import JobState
from jobs.testing.memory_rows import Row

RECONCILER: Final = "reconciler"
SUPERVISOR: Final = "supervisor"


def ran_out(job: Job, now: datetime) -> bool:
    return job.lease_expires_at is not None and job.lease_expires_at < now


def lose(row: Row, now: datetime) -> Job:
    """Whatever its worker believes, an attempt whose lease ran out is lost."""
    failure = Failure(
        failure_class=FailureClass.LOST,
        code="lease_expired",
        message=f"the lease of {row.job.holder} ran out",
    )
    return row.end_badly(failure, at=now, who=RECONCILER, why="lease expired", not_before=None)


def lose_beside(row: Row, now: datetime, why: str) -> Job:
    """The process of its worker was seen to end."""
    job = row.job
    failure = Failure(
        failure_class=FailureClass.LOST,
        code="worker_lost",
        message=f"the process of {job.holder} ended: {why}",
    )
    suspect = job.failures > 0 and job.steps_done < job.steps_total
    return row.end_badly(
        failure,
        at=now,
        who=SUPERVISOR,
        why=f"worker lost: {why}",
        not_before=now + SECOND_LOSS if suspect else None,
    )


def give_up(row: Row, now: datetime) -> Job:
    failure = Failure(
        failure_class=FailureClass.PERMANENT,
        code="start_deadline",
        message="no attempt had started by the deadline",
    )
    return row.move(
        JobState.FAILED,
        at=now,
        who=RECONCILER,
        why="start deadline passed",
        finished_at=now,
        failure=failure,
    )
