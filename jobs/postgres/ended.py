"""Attempts that are over, for reports."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, RowMapping, func, select

from jobs.errors import FailureClass
from jobs.ledger import Ended
from jobs.model import JobId
from jobs.postgres.tables import attempt, job
from jobs.states import JobState


def ended(connection: Connection, within: timedelta, limit: int) -> list[Ended]:
    statement = (
        select(
            attempt.c.job_id,
            attempt.c.release,
            attempt.c.card,
            attempt.c.outcome,
            attempt.c.failure_class,
            attempt.c.timings,
            job.c.metadata_["golden"].astext.label("golden"),
        )
        .join(job, job.c.id == attempt.c.job_id)
        .where(attempt.c.ended_at > func.now() - within)
        .order_by(attempt.c.ended_at.desc())
        .limit(limit)
    )
    return [_ended(row) for row in connection.execute(statement).mappings()]


def _ended(row: RowMapping) -> Ended:
    return Ended(
        job_id=JobId(row["job_id"]),
        release=row["release"],
        card=row["card"],
        outcome=JobState(row["outcome"]),
        failure_class=FailureClass(row["failure_class"]) if row["failure_class"] else None,
        timings=row["timings"] or {},
        golden=row["golden"],
    )
