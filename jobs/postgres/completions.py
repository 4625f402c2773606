"""Attempts that succeed: each fenced by its own number, those of one moment in one commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Integer,
    RowMapping,
    Text,
    Update,
    Uuid,
    any_,
    bindparam,
    column,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.dml import ReturningUpdate

from jobs.model import Job, JobId, Lease, Result
from jobs.postgres.attempts import OUR_ATTEMPT, RELEASED, THIS, fenced, still_ours
from jobs.postgres.rows import job_of
from jobs.postgres.tables import is_among, job, state_is
from jobs.states import JobState

#: What every end of an attempt does, of a job as it was read.
RELEASED_JOB: Final[Mapping[str, Any]] = {"holder": None, "lease_expires_at": None}


@dataclass(frozen=True, slots=True)
class Completion:
    """What an attempt that succeeded tells.  ``timings``: seconds by stage."""

    lease: Lease
    result: Result
    timings: Mapping[str, float]

    def job(self, row: Mapping[str, Any]) -> Job:
        """As it stands in the ledger now, of which ``row`` is what its worker cannot know."""
        known = {"state": JobState.SUCCEEDED, "result": self.result, **RELEASED_JOB}
        return replace(self.lease.job, **known, **row)


def complete_all(connection: Connection, told: Sequence[Completion]) -> dict[JobId, Job]:
    """running → succeeded, of different jobs in one commit, each fenced by its own attempt.

    Left out are those that were refused, and those whose row another statement holds just now:
    what only one of them waits for must not keep the others.
    """
    by_id = {one.lease.job.id: one for one in told}
    rows = [
        {
            "id": str(one.lease.job.id),
            "attempt": one.lease.attempt,
            "holder": one.lease.holder,
            "result": asdict(one.result),
            "timings": dict(one.timings),
        }
        for one in told
    ]
    done = connection.execute(COMPLETE_ALL, {"told": rows, "these": list(by_id)}).mappings()
    return {JobId(row["id"]): by_id[row["id"]].job(_answered(row)) for row in done}


def complete(connection: Connection, told: Completion) -> Job:
    """running → succeeded.  Said twice by the same attempt, it is true once."""
    lease, result = told.lease, told.result
    values = {
        "this": lease.job.id,
        "our_attempt": lease.attempt,
        "our_name": lease.holder,
        "our_result": asdict(result),
        "our_timings": dict(told.timings),
    }
    row = connection.execute(COMPLETE, values).mappings().one_or_none()
    if row is not None:
        return told.job(_answered(row))
    # The answer to our first try may have been lost on its way.
    ours = select(job).where(
        job.c.id == lease.job.id,
        state_is(JobState.SUCCEEDED),
        job.c.attempt == lease.attempt,
        job.c.result["key"].astext == result.key,
    )
    return job_of(still_ours(connection.execute(ours).mappings().one_or_none(), lease))


#: What its worker cannot know of a completed job.
UNKNOWN: Final = (
    *(job.c.finished_at, job.c.expires_at, job.c.steps_done, job.c.steps_total),
    *(job.c.cancel_requested_at, job.c.dispatched_at),
    *(job.c.created_at, job.c.started_at, job.c.start_by),
)


def _answered(row: RowMapping) -> dict[str, Any]:
    return {one.name: row[one.name] for one in UNKNOWN}


def _completing(
    held: Update,
    *,
    result: ColumnElement[Any],
    timings: ColumnElement[Any],
    holder: ColumnElement[Any],
) -> ReturningUpdate[Any]:
    """Told by parameters, or by the columns of a table."""
    moved = held.values(
        state=JobState.SUCCEEDED,
        result=result,
        finished_at=func.now(),
        expires_at=func.now() + job.c.keep_for,
        steps_done=job.c.steps_total,
        timings=timings,
        moved_by=holder,
        moved_why="completed",
        **RELEASED,
    )
    answered: list[Any] = [job.c.id, *UNKNOWN]
    return moved.returning(*answered)


#: Built once, as the claims are.
COMPLETE: Final = _completing(
    fenced(THIS, OUR_ATTEMPT),
    result=bindparam("our_result", type_=job.c.result.type),
    timings=bindparam("our_timings", type_=job.c.timings.type),
    holder=bindparam("our_name", type_=Text),
)


def _completing_all() -> ReturningUpdate[Any]:
    """One text and two parameters, however many they are."""
    told = (
        func.json_to_recordset(bindparam("told", type_=JSON()))
        .table_valued(
            *(column("id", Uuid()), column("attempt", Integer()), column("holder", Text())),
            *(column("result", job.c.result.type), column("timings", job.c.timings.type)),
        )
        .render_derived("told", with_types=True)
    )
    free = job.alias("free")
    these = (
        select(free.c.id)
        .where(free.c.id == any_(bindparam("these", type_=ARRAY(Uuid()))))
        .with_for_update(key_share=True, skip_locked=True)
    )
    held = fenced(told.c.id, told.c.attempt).where(is_among(these))
    return _completing(held, result=told.c.result, timings=told.c.timings, holder=told.c.holder)


COMPLETE_ALL: Final = _completing_all()
