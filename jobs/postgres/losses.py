"""What becomes of the jobs of a worker whose process was seen to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, RowMapping, and_, case, func, null, update

from jobs.errors import FailureClass
from jobs.ledger import SECOND_LOSS
from jobs.postgres.attempts import ended_badly
from jobs.postgres.rows import storable
from jobs.postgres.tables import job, state_is, worker
from jobs.states import JobState

SUPERVISOR: Final = "supervisor"


def lose_worker(connection: Connection, worker_id: UUID, why: str) -> Sequence[RowMapping]:
    """running → queued within the budget, else → failed, for all that the dead worker holds."""
    gone = update(worker).where(worker.c.id == worker_id).values(left_at=func.now())
    connection.execute(gone)
    suspect = and_(job.c.failures > 0, job.c.steps_done < job.c.steps_total)
    statement = (
        update(job)
        .where(state_is(JobState.RUNNING), job.c.worker_id == worker_id)
        .values(
            **ended_badly(FailureClass.LOST),
            not_before=case((suspect, func.now() + SECOND_LOSS), else_=null()),
            error_code="worker_lost",
            error=func.concat("the process of ", job.c.holder, " ended: ", storable(why)),
            moved_by=SUPERVISOR,
            moved_why=storable(f"worker lost: {why}"),
        )
        .returning(job)
    )
    return connection.execute(statement).mappings().all()
