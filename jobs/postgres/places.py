"""Which jobs start before a queued one."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Integer,
    Select,
    SmallInteger,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
)

from jobs.ledger import POSITION_LIMIT
from jobs.model import Job
from jobs.postgres.fair import in_line, in_line_of, lines_of, on_cards
from jobs.postgres.tables import job

OUR_QUEUE: Final = bindparam("our_queue", type_=Text)
OUR_TENANT: Final = bindparam("our_tenant", type_=Text)
OUR_PRIORITY: Final = bindparam("our_priority", type_=SmallInteger)
THIS: Final = bindparam("this", type_=Uuid)


def standing_before(connection: Connection, mine: Job) -> dict[str, int]:
    """How many jobs of each profile start before it, if no other comes."""
    known = {
        "our_queue": mine.queue,
        "our_tenant": mine.tenant,
        "our_priority": int(mine.priority),
        "this": mine.id,
    }
    return {profile: count for profile, count in connection.execute(BEFORE, known)}  # noqa: C416


def _before(limit: int) -> Select[Any]:
    """(profile, jobs), counted up to ``limit``: all of a higher priority, and of its own as many
    of each tenant as have a turn before it.
    """
    upto = _upto(limit)
    line = (
        select(job.c.id, func.row_number().over(order_by=job.c.id).label("turn"))
        .where(in_line_of(upto, OUR_QUEUE))
        .order_by(job.c.id)
        .limit(upto.c.most)
        .lateral("line")
    )
    is_before = or_(upto.c.priority > OUR_PRIORITY, line.c.turn < upto.c.most, line.c.id < THIS)
    found = (
        select(upto.c.profile)
        .select_from(upto.join(line, true()))
        .where(is_before)
        .limit(limit)
        .subquery()
    )
    return select(found.c.profile, func.count(literal(1))).group_by(found.c.profile)


def _upto(limit: int) -> CTE:
    """(priority, tenant, profile, most) of each line that goes before this job's or with it: no
    more than the first ``most`` of its jobs start before this one.  A line's profile is that of
    its first job.
    """
    busy = on_cards(OUR_QUEUE).cte("busy")
    lines = lines_of(OUR_QUEUE)
    most = case(
        (lines.c.priority > OUR_PRIORITY, limit),
        else_=func.greatest(func.least(_turns(busy, limit), limit), 0),
    )
    profile = select(job.c.profile).where(in_line_of(lines, OUR_QUEUE)).order_by(job.c.id).limit(1)
    return (
        select(
            lines.c.priority,
            lines.c.tenant,
            profile.scalar_subquery().label("profile"),
            cast(most, Integer).label("most"),
        )
        .select_from(lines.outerjoin(busy, busy.c.tenant == lines.c.tenant))
        .where(lines.c.priority >= OUR_PRIORITY)
        .cte("upto")
        .prefix_with("MATERIALIZED")  # or the profile is looked up for each row of its line
    )


def _turns(busy: CTE, limit: int) -> ColumnElement[int]:
    """How many jobs of a tenant's line have a turn no later than this job's: as many as stand
    before it in its own line and one, with more where its tenant has more on the cards, and with
    fewer where the other tenant has.
    """
    own = (
        select(literal(1))
        .where(
            job.c.queue == OUR_QUEUE,
            in_line(),
            job.c.priority == OUR_PRIORITY,
            job.c.tenant == OUR_TENANT,
            job.c.id < THIS,
        )
        .limit(limit)
        .subquery()
    )
    rank = select(func.count(literal(1))).select_from(own).scalar_subquery()
    ours = select(busy.c.jobs).where(busy.c.tenant == OUR_TENANT).scalar_subquery()
    return rank + 1 + func.coalesce(ours, 0) - func.coalesce(busy.c.jobs, 0)


#: Built once: every caller polls.
BEFORE: Final = _before(POSITION_LIMIT)
