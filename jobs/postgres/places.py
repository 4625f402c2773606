"""Which jobs start before a queued one."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
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
    of each tenant as have a turn before it.  A line's profile is that of its first job.

    ``turns`` is the number of jobs in a line whose turn comes no later than this job's: as many as
    stand before it in its own line and one, with more where its tenant has more on the cards,
    and with fewer where the other tenant has.
    """
    queue, tenant, priority, mine = OUR_QUEUE, OUR_TENANT, OUR_PRIORITY, THIS
    own = (
        select(literal(1))
        .where(
            job.c.queue == queue,
            in_line(),
            job.c.priority == priority,
            job.c.tenant == tenant,
            job.c.id < mine,
        )
        .limit(limit)
        .subquery()
    )
    rank = select(func.count(literal(1))).select_from(own).scalar_subquery()
    busy = on_cards(queue).cte("busy")
    ours = select(busy.c.jobs).where(busy.c.tenant == tenant).scalar_subquery()
    lines = lines_of(queue)
    turns = rank + 1 + func.coalesce(ours, 0) - func.coalesce(busy.c.jobs, 0)
    most = case(
        (lines.c.priority > priority, limit),
        else_=func.greatest(func.least(turns, limit), 0),
    )
    profile = select(job.c.profile).where(in_line_of(lines, queue)).order_by(job.c.id).limit(1)
    upto = (
        select(
            lines.c.priority,
            lines.c.tenant,
            profile.scalar_subquery().label("profile"),
            cast(most, Integer).label("most"),
        )
        .select_from(lines.outerjoin(busy, busy.c.tenant == lines.c.tenant))
        .where(lines.c.priority >= priority)
        .cte("upto")
        .prefix_with("MATERIALIZED")  # or the profile is looked up for each row of its line
    )
    line = (
        select(job.c.id, func.row_number().over(order_by=job.c.id).label("turn"))
        .where(in_line_of(upto, queue))
        .order_by(job.c.id)
        .limit(upto.c.most)
        .lateral("line")
    )
    found = (
        select(upto.c.profile)
        .select_from(upto.join(line, true()))
        .where(or_(upto.c.priority > priority, line.c.turn < upto.c.most, line.c.id < mine))
        .limit(limit)
        .subquery()
    )
    return select(found.c.profile, func.count(literal(1))).group_by(found.c.profile)


#: Built once: every caller polls.
BEFORE: Final = _before(POSITION_LIMIT)
