"""Whose turn it is: by priority, then fairly between tenants, then oldest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, Subquery, func, literal, select, true, tuple_

from jobs.postgres.tables import job, state_is
from jobs.states import JobState


def next_jobs(queue: str, wanted: ColumnElement[bool], *, limit: int) -> Subquery:
    """(id, place) of the next ``limit`` queued jobs that are ``wanted``; place 1 goes first.

    A tenant's turn comes after as many jobs as it has running and waiting in Redis, so a
    batch of thousands does not stand before another tenant's single picture.  Reads the
    index job_next from place to place (one look per priority and tenant, then ``limit``
    rows each), so its cost does not grow with the number of queued jobs.
    """
    lines = _lines(queue)
    head = (
        select(job.c.id)
        .where(
            job.c.queue == queue,
            state_is(JobState.QUEUED),
            job.c.priority == lines.c.priority,
            job.c.tenant == lines.c.tenant,
            wanted,
        )
        .order_by(job.c.id)
        .limit(limit)
        .lateral("head")
    )
    busy = _busy(queue).cte("busy")
    turn = func.row_number().over(
        partition_by=[lines.c.priority, lines.c.tenant], order_by=head.c.id
    ) + func.coalesce(busy.c.jobs, 0)
    heads = (
        select(head.c.id, lines.c.priority, turn.label("turn"))
        .select_from(lines.join(head, true()).outerjoin(busy, busy.c.tenant == lines.c.tenant))
        .subquery("heads")
    )
    order = (heads.c.priority.desc(), heads.c.turn, heads.c.id)
    place = func.row_number().over(order_by=order).label("place")
    return select(heads.c.id, place).order_by(*order).limit(limit).subquery("next")


def _lines(queue: str) -> Any:  # noqa: ANN401 - a recursive CTE has no better type
    """Each (priority, tenant) that has queued jobs: a loose index scan."""

    def first(*after: ColumnElement[bool]) -> Select[int, str]:
        return (
            select(job.c.priority, job.c.tenant)
            .where(job.c.queue == queue, state_is(JobState.QUEUED), *after)
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


def _busy(queue: str) -> Select[Any]:
    """How many jobs of each tenant run or stand in Redis: a few per worker."""
    running = select(job.c.tenant).where(job.c.queue == queue, state_is(JobState.RUNNING))
    standing = select(job.c.tenant).where(
        job.c.queue == queue, state_is(JobState.QUEUED), job.c.dispatched_at.is_not(None)
    )
    both = running.union_all(standing).subquery()
    jobs = func.count(literal(1), type_=Integer).label("jobs")
    return select(both.c.tenant, jobs).group_by(both.c.tenant)
