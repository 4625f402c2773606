"""Whose turn it is: by priority, then fairly between tenants, then oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Subquery,
    and_,
    func,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.sql.selectable import LateralFromClause

from jobs.postgres.tables import job, state_is
from jobs.states import JobState

Queue = str | ColumnElement[str]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What decides whose turn it is, beside the line itself."""

    busy: Select[Any]  #: how many jobs count as a tenant's own at this moment
    served: ColumnElement[Sequence[str]] | None = None  #: tenants; the one served last is last
    named: ColumnElement[UUID] | None = None  #: a job that goes before others of its line


def next_jobs(queue: Queue, wanted: ColumnElement[bool], facts: Facts, *, limit: int) -> Subquery:
    """(id, place) of the next ``limit`` queued jobs that are ``wanted``; place 1 goes first.

    A tenant's turn comes after as many jobs as it is busy with, so a batch of thousands
    does not stand before another tenant's single picture.  Reads the
    index job_next from place to place (one look per priority and tenant, then ``limit``
    rows each), so its cost does not grow with the number of queued jobs; those that back off
    are in another index, of which it reads ``limit`` rows at most.
    """
    first = _first(queue, wanted, facts.named, limit)
    busy = facts.busy.cte("busy")
    turn = func.row_number().over(
        partition_by=[first.c.priority, first.c.tenant], order_by=[first.c.behind, first.c.id]
    ) + func.coalesce(busy.c.jobs, 0)
    heads = (
        select(first.c.id, first.c.priority, first.c.tenant, turn.label("turn"))
        .select_from(first.outerjoin(busy, busy.c.tenant == first.c.tenant))
        .subquery("turns")
    )
    by_turn: list[Any] = [heads.c.priority.desc(), heads.c.turn, heads.c.id]
    if facts.served is not None:
        by_turn.insert(2, func.array_position(facts.served, heads.c.tenant).nulls_first())
    place = func.row_number().over(order_by=by_turn).label("place")
    return select(heads.c.id, place).order_by(*by_turn).limit(limit).subquery("next")


def held_row_of(line: Subquery, wanted: ColumnElement[bool]) -> LateralFromClause:
    """(id, is_wanted) of each job of ``line``, locked, in its order; none that another holds.

    One look by the primary key for each, and no more of them than are asked for.  A join with
    the table could as well read the whole queue, and does where statistics tell that it is
    short.  The inner limit keeps ``wanted`` out of the choice of an index.
    """
    return (
        select(job.c.id, wanted.label("is_wanted"))
        .where(job.c.id == line.c.id)
        .limit(1)
        .with_for_update(of=job, skip_locked=True)
        .lateral("held_row")
    )


def _first(
    queue: Queue, wanted: ColumnElement[bool], named: ColumnElement[UUID] | None, limit: int
) -> Subquery:
    """The jobs among which the next ones are; ``behind`` is 0 for the one that was named."""
    others = wanted if named is None else and_(wanted, job.c.id != named)
    behind = literal_column("1", Integer).label("behind")
    parts = [
        select(part.c.id, part.c.priority, part.c.tenant, behind)
        for part in (_heads(queue, others, limit), _retries(queue, others, limit))
    ]
    if named is not None:
        # As in ``held_row_of``: the limit keeps all but the key out of the choice of an index.
        is_wanted = and_(job.c.queue == queue, wanted).label("is_wanted")
        one = (
            select(job.c.id, job.c.priority, job.c.tenant, is_wanted)
            .where(job.c.id == named)
            .limit(1)
            .subquery("named")
        )
        ahead = literal_column("0", Integer).label("behind")
        parts.append(select(one.c.id, one.c.priority, one.c.tenant, ahead).where(one.c.is_wanted))
    return union_all(*parts).subquery("first")


def _heads(queue: Queue, wanted: ColumnElement[bool], limit: int) -> Subquery:
    """The first of each line."""
    lines = lines_of(queue)
    head = (
        select(job.c.id)
        .where(in_line_of(lines, queue), wanted)
        .order_by(job.c.id)
        .limit(limit)
        .lateral("head")
    )
    both = lines.join(head, true())
    return select(head.c.id, lines.c.priority, lines.c.tenant).select_from(both).subquery("heads")


def _retries(queue: Queue, wanted: ColumnElement[bool], limit: int) -> Subquery:
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


def lines_of(queue: Queue) -> Any:  # noqa: ANN401 - a recursive CTE has no better type
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


def in_line_of(lines: Any, queue: Queue) -> ColumnElement[bool]:  # noqa: ANN401 - as above
    """Of one of the ``lines``: read from the index job_next, in order of id."""
    return and_(
        job.c.queue == queue,
        in_line(),
        job.c.priority == lines.c.priority,
        job.c.tenant == lines.c.tenant,
    )


def in_line() -> ColumnElement[bool]:
    """Queued, and waiting for nothing but its turn: the words of the index job_next."""
    return and_(state_is(JobState.QUEUED), job.c.not_before.is_(None))


def on_cards(queue: Queue) -> Select[Any]:
    """How many jobs of each tenant run."""
    running = select(job.c.tenant).where(job.c.queue == queue, state_is(JobState.RUNNING))
    return _counted(running.subquery())


def on_cards_or_named(queue: Queue) -> Select[Any]:
    """How many jobs of each tenant run, or are named by a message: a few per worker."""
    running = select(job.c.tenant).where(job.c.queue == queue, state_is(JobState.RUNNING))
    named = select(job.c.tenant).where(
        job.c.queue == queue, state_is(JobState.QUEUED), job.c.dispatched_at.is_not(None)
    )
    return _counted(running.union_all(named).subquery())


def _counted(tenants: Subquery) -> Select[Any]:
    jobs = func.count(1, type_=Integer).label("jobs")
    return select(tenants.c.tenant, jobs).group_by(tenants.c.tenant)
