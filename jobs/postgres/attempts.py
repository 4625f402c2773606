"""The moves of an attempt: one statement each, fenced by the attempt's number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Interval,
    RowMapping,
    Select,
    Text,
    Update,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    column,
    func,
    literal,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.dml import ReturningUpdate

from jobs.errors import FailureClass, LeaseLost
from jobs.model import Failure, Holding, JobId, Lease, Order, WorkerInfo
from jobs.postgres.fair import Facts, held_row_of, next_jobs, on_cards
from jobs.postgres.rows import job_of, storable
from jobs.postgres.tables import is_among, job, state_is, state_still_is, worker
from jobs.states import JobState

#: How many workers may claim from one queue at the same moment without one finding nothing.
CLAIMANTS: Final = 16
#: Of the worker that claims, and of the job that it wants or that a message named.
OUR_QUEUE: Final = bindparam("our_queue", type_=Text)
OUR_PROFILES: Final = bindparam("our_profiles", type_=ARRAY(Text()))
SERVED: Final = bindparam("served", type_=ARRAY(Text()))
THIS: Final = bindparam("this", type_=Uuid)
OUR_ATTEMPT: Final = bindparam("our_attempt", type_=Integer)
#: What every end of an attempt does to the row.
RELEASED: Final = {
    "worker_id": null(),
    "holder": null(),
    "lease_expires_at": null(),
    "attempt_started_at": null(),
}
#: An attempt's record must not show what befell the one before.
BLAMELESS: Final = {"failure_class": null(), "error_code": null(), "error": null()}
#: What a row needs to be queued again.
REQUEUED: Final = {"dispatched_at": null(), "steps_done": 0}


def due() -> ColumnElement[bool]:
    """Queued, and neither too early nor too late; a deadline is for the first attempt alone."""
    return and_(
        state_is(JobState.QUEUED),
        or_(job.c.not_before.is_(None), job.c.not_before <= func.now()),
        or_(job.c.start_by.is_(None), job.c.start_by > func.now(), job.c.attempt > 0),
    )


def due_for_us() -> ColumnElement[bool]:
    """Due, and of a profile that this very worker has: its queue may hold others' too."""
    return and_(due(), job.c.profile == any_(OUR_PROFILES))


def locked_next(
    named: ColumnElement[UUID] | None = None, *, most: ColumnElement[int] | int = 1
) -> Select[UUID]:
    """The first of the line that nobody is claiming at this moment."""
    facts = Facts(busy=on_cards(OUR_QUEUE), served=SERVED, named=named)
    line = next_jobs(OUR_QUEUE, due_for_us(), facts, limit=CLAIMANTS)
    row = held_row_of(line, due_for_us())
    return select(row.c.id).select_from(line.join(row, true())).where(row.c.is_wanted).limit(most)


def _claiming(*wanted: ColumnElement[bool]) -> ReturningUpdate[Any]:
    """queued → running."""
    return (
        update(job)
        .where(*wanted, state_still_is(JobState.QUEUED))
        .values(
            state=JobState.RUNNING,
            attempt=job.c.attempt + 1,
            worker_id=bindparam("our_id", type_=Uuid),
            holder=bindparam("our_name", type_=Text),
            release=bindparam("our_release", type_=Text),
            lease_expires_at=func.now() + bindparam("lease", type_=Interval),
            attempt_started_at=func.now(),
            started_at=func.coalesce(job.c.started_at, func.now()),
            not_before=null(),
            steps_done=0,
            steps_total=0,
            timings=null(),
            **BLAMELESS,
            moved_by=bindparam("our_name", type_=Text),
            moved_why="claimed",
        )
        .returning(job)
    )


#: Built once: to put such a statement together takes longer than to carry it out.
CLAIM: Final = _claiming(job.c.id == THIS, job.c.queue == OUR_QUEUE, due_for_us())
CLAIM_NEXT: Final = _claiming(is_among(locked_next(most=bindparam("most", type_=Integer))))
CLAIM_NAMED: Final = _claiming(is_among(locked_next(THIS)))


def claim(
    connection: Connection, job_id: JobId, info: WorkerInfo, lease: timedelta
) -> Lease | None:
    return _claimed(connection, CLAIM, info, {"lease": lease, "this": job_id})


def claim_next(
    connection: Connection,
    info: WorkerInfo,
    lease: timedelta,
    *,
    named: JobId | None = None,
    served: Sequence[str] = (),
) -> Lease | None:
    """Whichever job has the next turn."""
    if named is None:
        return next(iter(claim_some(connection, info, lease, most=1, served=served)), None)
    wanted = {"lease": lease, "served": list(served), "this": named}
    return _claimed(connection, CLAIM_NAMED, info, wanted)


def claim_some(
    connection: Connection,
    info: WorkerInfo,
    lease: timedelta,
    *,
    most: int,
    served: Sequence[str] = (),
) -> list[Lease]:
    wanted = {"lease": lease, "served": list(served), "most": most}
    leases = _all_claimed(connection, CLAIM_NEXT, info, wanted)
    return sorted(leases, key=lambda one: one.job.id)


def _claimed(
    connection: Connection,
    statement: ReturningUpdate[Any],
    info: WorkerInfo,
    wanted: Mapping[str, Any],
) -> Lease | None:
    return next(iter(_all_claimed(connection, statement, info, wanted)), None)


def _all_claimed(
    connection: Connection,
    statement: ReturningUpdate[Any],
    info: WorkerInfo,
    wanted: Mapping[str, Any],
) -> list[Lease]:
    us = {
        "our_id": info.id,
        "our_name": info.holder,
        "our_release": info.release,
        "our_queue": info.model.queue,
        "our_profiles": list(info.model.profiles),
    }
    rows = connection.execute(statement, {**us, **wanted}).mappings()
    return [Lease(job=job_of(row), attempt=row["attempt"], holder=info.holder) for row in rows]


def renew(
    connection: Connection, worker_id: UUID, holdings: Sequence[Holding], lease: timedelta
) -> dict[JobId, Order]:
    """One statement for all leases of a worker; ownership by ``now()`` of the database alone."""
    seen = update(worker).where(worker.c.id == worker_id).values(seen_at=func.now()).cte("seen")
    if not holdings:
        connection.execute(select(literal(1)).add_cte(seen))
        return {}
    held = _reported(holdings)
    statement = (
        update(job)
        .where(
            job.c.id == held.c.id,
            job.c.attempt == held.c.attempt,
            state_is(JobState.RUNNING),
            job.c.worker_id == worker_id,
        )
        .values(
            lease_expires_at=func.now() + lease,
            steps_done=held.c.steps_done,
            steps_total=held.c.steps_total,
        )
        .returning(job.c.id, _order().label("order"))
        .add_cte(seen)
    )
    orders = {JobId(row.id): Order(row.order) for row in connection.execute(statement)}
    return {one.job_id: orders.get(one.job_id, Order.LOST) for one in holdings}


def _reported(holdings: Sequence[Holding]) -> Any:  # noqa: ANN401 - a table made of arrays
    """The holdings as rows.  Arrays keep the statement's text, hence its plan, the same."""
    arrays = [
        literal([one.job_id for one in holdings], ARRAY(Uuid())),
        literal([one.attempt for one in holdings], ARRAY(Integer())),
        literal([one.steps_done for one in holdings], ARRAY(Integer())),
        literal([one.steps_total for one in holdings], ARRAY(Integer())),
    ]
    table = func.unnest(*arrays).table_valued(
        column("id", Uuid()),
        column("attempt", Integer()),
        column("steps_done", Integer()),
        column("steps_total", Integer()),
    )
    return table.render_derived("held")


def _order() -> ColumnElement[str]:
    late = and_(
        job.c.run_limit.is_not(None), job.c.attempt_started_at + job.c.run_limit < func.now()
    )
    return case(
        (job.c.cancel_requested_at.is_not(None), Order.CANCEL.value),
        (late, Order.STOP.value),
        else_=Order.CONTINUE.value,
    )


def fail(connection: Connection, lease: Lease, failure: Failure, retry_in: timedelta) -> RowMapping:
    """running → queued within the budget, else → failed; → cancelled if that was asked."""
    statement = _held(lease).values(
        **ended_badly(failure.failure_class),
        not_before=func.now() + retry_in if retry_in else null(),
        error_code=failure.code,
        error=storable(failure.message),
        moved_by=lease.holder,
        moved_why=f"{failure.failure_class}: {failure.code}",
    )
    return still_ours(_moved(connection, statement), lease)


def ended_badly(failure_class: FailureClass) -> dict[str, Any]:
    """Budget and next state after an ending of this class; one rule for ``fail`` and ``expire``."""
    counts = failure_class is not FailureClass.PERMANENT
    again = and_(literal(counts), job.c.failures + 1 < job.c.max_failures)
    state = case(
        (job.c.cancel_requested_at.is_not(None), JobState.CANCELLED.value),
        (again, JobState.QUEUED.value),
        else_=JobState.FAILED.value,
    )
    over = or_(job.c.cancel_requested_at.is_not(None), ~again)
    return {
        "state": state,
        "failures": job.c.failures + (1 if counts else 0),
        "finished_at": case((over, func.now()), else_=null()),
        "failure_class": failure_class.value,
        **RELEASED,
        **REQUEUED,
    }


def hand_back(connection: Connection, lease: Lease, why: str) -> RowMapping:
    """running → queued without counting; → cancelled if that was asked."""
    asked = job.c.cancel_requested_at.is_not(None)
    statement = _held(lease).values(
        state=case((asked, JobState.CANCELLED.value), else_=JobState.QUEUED.value),
        finished_at=case((asked, func.now()), else_=null()),
        moved_by=lease.holder,
        moved_why=why,
        **RELEASED,
        **REQUEUED,
    )
    return still_ours(_moved(connection, statement), lease)


def confirm_cancel(connection: Connection, lease: Lease) -> RowMapping:
    """running → cancelled; the audit names who asked for it, as ``cancel`` left it."""
    asked = job.c.cancel_requested_at.is_not(None)
    statement = _held(lease).values(
        state=JobState.CANCELLED,
        finished_at=func.now(),
        cancel_requested_at=func.coalesce(job.c.cancel_requested_at, func.now()),
        moved_by=case((asked, job.c.moved_by), else_=lease.holder),
        moved_why=case((asked, job.c.moved_why), else_="cancelled by its worker"),
        **RELEASED,
    )
    return still_ours(_moved(connection, statement), lease)


def _held(lease: Lease) -> Update:
    return fenced(lease.job.id, lease.attempt)


def fenced(job_id: Any, attempt: Any) -> Update:  # noqa: ANN401 - values, or parameters
    """The fence: every write of an attempt goes through this ``WHERE``."""
    return update(job).where(
        job.c.id == job_id,
        state_is(JobState.RUNNING),
        job.c.attempt == attempt,
    )


def _moved(connection: Connection, statement: Update) -> RowMapping | None:
    return connection.execute(statement.returning(job)).mappings().one_or_none()


def still_ours(row: RowMapping | None, lease: Lease) -> RowMapping:
    if row is None:
        raise LeaseLost(f"job {lease.job.id}: attempt {lease.attempt} no longer holds it")
    return row
