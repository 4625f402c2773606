"""Whose turn it is: by priority, then fairly between tenants, then oldest first."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Subquery,
    Uuid,
    and_,
    case,
    func,
    literal,
    select,
    true,
    tuple_,
    union_all,
)

from jobs.postgres.tables import job, state_is
from jobs.states import JobState

LAST: Final = literal(UUID(int=(1 << 128) - 1), Uuid())


def next_jobs(queue: str, wanted: ColumnElement[bool], *, limit: int) -> Subquery:
    """(id, place) of the next ``limit`` queued jobs that are ``wanted``; place 1 goes first.

    A tenant's turn comes after as many jobs as it has running and waiting in Redis, so a
    batch of thousands does not stand before another tenant's single picture.  Reads the
    index job_next from place to place (one look per priority and tenant, then ``limit``
    rows each), so its cost does not grow with the number of queued jobs; those that back off
    are in another index, of which it reads ``limit`` rows at most.
    """
    first = union_all(
        _heads(queue, wanted, limit), select(_retries(queue, wanted, limit))
    ).subquery("first")
    busy = _busy(queue).cte("busy")
    turn = func.row_number().over(
        partition_by=[first.c.priority, first.c.tenant], order_by=first.c.id
    ) + func.coalesce(busy.c.jobs, 0)
    heads = (
        select(first.c.id, first.c.priority, turn.label("turn"))
        .select_from(first.outerjoin(busy, busy.c.tenant == first.c.tenant))
        .subquery("heads")
    )
    order = (heads.c.priority.desc(), heads.c.turn, heads.c.id)
    place = func.row_number().over(order_by=order).label("place")
    return select(heads.c.id, place).order_by(*order).limit(limit).subquery("next")


def _heads(queue: str, wanted: ColumnElement[bool], limit: int) -> Select[Any]:
    """The first of each line."""
    lines = _lines(queue)
    head = (
        select(job.c.id)
        .where(
            job.c.queue == queue,
            in_line(),
            job.c.priority == lines.c.priority,
            job.c.tenant == lines.c.tenant,
            wanted,
        )
        .order_by(job.c.id)
        .limit(limit)
        .lateral("head")
    )
    return select(head.c.id, lines.c.priority, lines.c.tenant).select_from(lines.join(head, true()))


def _retries(queue: str, wanted: ColumnElement[bool], limit: int) -> Subquery:
    """Those whose pause has ended and that no tick has put back into their line."""
    return (
        select(job.c.id, job.c.priority, job.c.tenant)
        .where(
            job.c.queue == queue,
            state_is(JobState.QUEUED),
            job.c.not_before <= func.now(),
            wanted,
        )
        .order_by(job.c.not_before)
        .limit(limit)
        .subquery("retries")
    )


def _lines(queue: str) -> Any:  # noqa: ANN401 - a recursive CTE has no better type
    """Each (priority, tenant) that has queued jobs: a loose index scan."""

    def first(*after: ColumnElement[bool]) -> Select[int, str]:
        return (
            select(job.c.priority, job.c.tenant)
            .where(job.c.queue == queue, in_line(), *after)
            .order_by(job.c.priority, job.c.tenant)
            .limit(1)
        )

    start = first().subquery()
    lines = select(start.c.priority, start.c.tenant).cte("lines", recursive=True)
    step = first(
        tuple_(job.c.priority, job.c.tenant) > tuple_(lines.c.priority, lines.c.tenant)
    ).lateral("step")
    return lines.union_all(
        select(step.c.priority, step.c.tenant).select_from(lines.join(step, true()))
    )


def standing_before(queue: str, priority: int, job_id: UUID, *, limit: int) -> Select[int]:
    """How many jobs of the line stand before this one, counted up to ``limit``."""
    lines = _lines(queue)
    end = case((lines.c.priority > priority, LAST), else_=literal(job_id, Uuid()))
    ahead = (
        select(literal(1))
        .where(
            job.c.queue == queue,
            in_line(),
            job.c.priority == lines.c.priority,
            job.c.tenant == lines.c.tenant,
            job.c.id < end,
        )
        .limit(limit)
        .lateral("ahead")
    )
    found = (
        select(literal(1))
        .select_from(lines.join(ahead, true()))
        .where(lines.c.priority >= priority)
        .limit(limit)
        .subquery()
    )
    return select(func.count(literal(1))).select_from(found)


def in_line() -> ColumnElement[bool]:
    """Queued, and waiting for nothing but its turn: the words of the index job_next."""
    return and_(state_is(JobState.QUEUED), job.c.not_before.is_(None))


def _busy(queue: str) -> Select[Any]:
    """How many jobs of each tenant run or stand in Redis: a few per worker."""
    running = select(job.c.tenant).where(job.c.queue == queue, state_is(JobState.RUNNING))
    standing = select(job.c.tenant).where(
        job.c.queue == queue, state_is(JobState.QUEUED), job.c.dispatched_at.is_not(None)
    )
    both = running.union_all(standing).subquery()
    jobs = func.count(literal(1), type_=Integer).label("jobs")
    return select(both.c.tenant, jobs).group_by(both.c.tenant)
