"""What stands in Redis, and what ends without a worker: the reconciler's statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import (
    Connection,
    RowMapping,
    Text,
    Uuid,
    and_,
    any_,
    func,
    literal,
    null,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from jobs.errors import FailureClass
from jobs.model import JobId, ServedModel
from jobs.postgres.attempts import due, ended_badly
from jobs.postgres.fair import Facts, held_row_of, next_jobs, on_cards_or_named
from jobs.postgres.offers import live_workers
from jobs.postgres.tables import is_alive, is_among, job, state_is, worker
from jobs.states import JobState

RECONCILER: Final = "reconciler"


def expire_leases(connection: Connection, limit: int) -> Sequence[RowMapping]:
    """Whatever its worker believes, an attempt whose lease ran out is lost."""
    out = (
        select(job.c.id)
        .where(state_is(JobState.RUNNING), job.c.lease_expires_at < func.now())
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = (
        update(job)
        .where(is_among(out))
        .values(
            **ended_badly(FailureClass.LOST),
            not_before=null(),
            error_code="lease_expired",
            error=func.concat("the lease of ", job.c.holder, " ran out"),
            moved_by=RECONCILER,
            moved_why="lease expired",
        )
        .returning(job)
    )
    return connection.execute(statement).mappings().all()


def expire_deadlines(connection: Connection, limit: int) -> Sequence[RowMapping]:
    """queued → failed, for jobs of which no attempt has started by now."""
    late = (
        select(job.c.id)
        .where(state_is(JobState.QUEUED), job.c.start_by <= func.now(), job.c.attempt == 0)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = (
        update(job)
        .where(is_among(late))
        .values(
            state=JobState.FAILED,
            finished_at=func.now(),
            failure_class=FailureClass.PERMANENT.value,
            error_code="start_deadline",
            error="no attempt had started by the deadline",
            moved_by=RECONCILER,
            moved_why="start deadline passed",
        )
        .returning(job)
    )
    return connection.execute(statement).mappings().all()


def wake(connection: Connection, queue: str, limit: int) -> int:
    """Put jobs whose pause has ended back into their line."""
    awake = (
        select(job.c.id)
        .where(job.c.queue == queue, state_is(JobState.QUEUED), job.c.not_before <= func.now())
        .order_by(job.c.not_before)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = update(job).where(is_among(awake)).values(not_before=null())
    return connection.execute(statement).rowcount


def queues(connection: Connection) -> dict[str, int]:
    """Queues with queued jobs (a loose index scan) or live workers, and how many of those."""
    first = select(func.min(job.c.queue).label("queue")).where(state_is(JobState.QUEUED))
    waiting = first.cte("waiting", recursive=True)
    following = (
        select(func.min(job.c.queue))
        .where(state_is(JobState.QUEUED), job.c.queue > waiting.c.queue)
        .scalar_subquery()
    )
    waiting = waiting.union_all(select(following).where(waiting.c.queue.is_not(None)))
    rows = connection.execute(select(waiting.c.queue).where(waiting.c.queue.is_not(None)))
    found = dict.fromkeys(rows.scalars(), 0)
    alive = (
        select(worker.c.queue, func.count(literal(1))).where(is_alive()).group_by(worker.c.queue)
    )
    return {**found, **{queue: count for queue, count in connection.execute(alive)}}  # noqa: C416


def reroute(connection: Connection, queue: str, limit: int) -> int:
    """Where a job may go is decided by who lives now, as ``submit`` decided it then."""
    alive = [one.model for one in live_workers(connection)]
    if queue in {one.queue for one in alive}:
        return 0
    return sum(_move(connection, queue, to, limit) for to in dict.fromkeys(alive))


def _move(connection: Connection, queue: str, to: ServedModel, limit: int) -> int:
    stranded = (
        select(job.c.id)
        .where(
            job.c.queue == queue,
            state_is(JobState.QUEUED),
            job.c.model == to.name,
            job.c.profile == any_(literal(list(to.profiles), ARRAY(Text()))),
        )
        .order_by(job.c.priority.desc(), job.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = update(job).where(is_among(stranded)).values(queue=to.queue, dispatched_at=null())
    return connection.execute(statement).rowcount


def take_window(connection: Connection, queue: str, size: int, most: int) -> list[JobId]:
    """Mark the next jobs as dispatched.  The lock ends with the caller's transaction."""
    mine = select(func.pg_try_advisory_xact_lock(func.hashtextextended(queue, 0)))
    if not connection.execute(mine).scalar_one():
        return []
    standing = select(func.count(literal(1))).where(
        job.c.queue == queue, state_is(JobState.QUEUED), job.c.dispatched_at.is_not(None)
    )
    room = size - connection.execute(standing).scalar_one()
    if min(room, most) <= 0:
        return []
    facts = Facts(busy=on_cards_or_named(queue))
    wanted = and_(due(), job.c.dispatched_at.is_(None))
    line = next_jobs(queue, wanted, facts, limit=min(room, most))
    row = held_row_of(line, wanted)
    ids = select(row.c.id).select_from(line.join(row, true())).where(row.c.is_wanted)
    ordered = list(connection.execute(ids.order_by(line.c.place)).scalars())
    connection.execute(
        update(job)
        .where(job.c.id == any_(literal(ordered, ARRAY(Uuid()))))
        .values(dispatched_at=func.now())
    )
    return [JobId(one) for one in ordered]


def standing(connection: Connection, queue: str, older_than: timedelta) -> list[JobId]:
    statement = select(job.c.id).where(
        job.c.queue == queue,
        state_is(JobState.QUEUED),
        job.c.dispatched_at < func.now() - older_than,
    )
    return [JobId(one) for one in connection.execute(statement).scalars()]


def undispatch(connection: Connection, job_ids: Sequence[JobId]) -> None:
    connection.execute(
        update(job)
        .where(job.c.id == any_(literal(list(job_ids), ARRAY(Uuid()))), state_is(JobState.QUEUED))
        .values(dispatched_at=null())
    )
