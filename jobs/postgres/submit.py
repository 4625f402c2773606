"""How jobs come into the ledger: keys, models, and one transaction for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Interval,
    TableValuedAlias,
    Text,
    and_,
    bindparam,
    column,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from jobs.errors import IdempotencyConflict, JobsError
from jobs.keys import Keyed, keyed
from jobs.ledger import Submitted
from jobs.model import NewJob, new_job_id
from jobs.postgres.offers import served_models
from jobs.postgres.rows import job_of, values_of
from jobs.postgres.tables import job, state_is
from jobs.states import JobState

SUBMITTER: Final = "producer"
TEXTS: Final = ARRAY(Text())


def submit(connection: Connection, new: Sequence[NewJob]) -> list[Submitted | JobsError]:
    """One transaction of the caller's, four statements whatever the number of jobs."""
    models = served_models(connection)
    items = [keyed(one, models) for one in new]
    wanted = [item for item in items if isinstance(item, Keyed)]
    if wanted:
        _supersede(connection, wanted)
        created = _insert(connection, wanted)
        found = _find(connection, wanted)
    else:
        created, found = set(), {}
    return [
        item if isinstance(item, JobsError) else _outcome(item, found, created) for item in items
    ]


def _keys(items: Sequence[Keyed]) -> TableValuedAlias:
    """The items' keys as rows of a table: arrays, so that thousands are still one statement."""
    keys = sorted({(item.new.tenant, item.key) for item in items})
    tenants, names = zip(*keys, strict=True)
    table = func.unnest(literal(list(tenants), TEXTS), literal(list(names), TEXTS))
    return table.table_valued(column("tenant", Text()), column("key", Text())).render_derived(
        "wanted"
    )


def _is_live(keys: TableValuedAlias) -> ColumnElement[bool]:
    return and_(
        job.c.tenant == keys.c.tenant, job.c.idempotency_key == keys.c.key, ~job.c.superseded
    )


def _supersede(connection: Connection, items: Sequence[Keyed]) -> None:
    """A derived key must not find a job that will never give a picture (again)."""
    derived = [item for item in items if item.derived]
    if not derived:
        return
    gone = or_(
        state_is(JobState.FAILED, JobState.CANCELLED),
        and_(state_is(JobState.RUNNING), job.c.cancel_requested_at.is_not(None)),
        job.c.result_deleted_at.is_not(None),
        job.c.expires_at <= func.now(),
    )
    useless = (
        select(job.c.id)
        .where(_is_live(_keys(derived)), job.c.key_derived, gone)
        .order_by(job.c.id)  # two that lock the same rows do so in the same order
        .with_for_update(of=job)
        .correlate(None)
    )
    connection.execute(update(job).where(job.c.id.in_(useless)).values(superseded=True))


def _insert(connection: Connection, items: Sequence[Keyed]) -> set[Any]:
    """The ids that were new.  A key that stands already, or twice in ``items``, adds nothing."""
    # Two calls with the same keys wait for each other's inserts: in one order, or it is a deadlock.
    rows = sorted((_row(item) for item in items), key=_place)
    statement = (
        insert(job)
        .values(start_by=func.now() + bindparam("start_within", type_=Interval))
        .on_conflict_do_nothing(
            index_elements=["tenant", "idempotency_key"], index_where=~job.c.superseded
        )
        .returning(job.c.id)
    )
    return set(connection.execute(statement, rows).scalars())


def _row(item: Keyed) -> dict[str, Any]:
    values = values_of(item.new, item.served, key=item.key, seed=item.seed)
    return {
        "id": new_job_id(),
        **values,
        "start_within": item.new.start_within,
        "moved_by": SUBMITTER,
        "moved_why": "submitted",
    }


def _place(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["tenant"], row["idempotency_key"]


def _find(connection: Connection, items: Sequence[Keyed]) -> Mapping[tuple[str, str], Any]:
    rows = connection.execute(select(job).where(_is_live(_keys(items)))).mappings()
    return {(row["tenant"], row["idempotency_key"]): row for row in rows}


def _outcome(
    item: Keyed, found: Mapping[tuple[str, str], Any], created: set[Any]
) -> Submitted | JobsError:
    row = found[item.new.tenant, item.key]
    if row["fingerprint"] != item.fingerprint:
        return IdempotencyConflict(
            f"idempotency key {item.key!r} belongs to job {row['id']}, which asks for something"
            " else: use another key, or send the same request"
        )
    is_new = row["id"] in created
    created.discard(row["id"])  # of two equal items in one call, the first made it
    return Submitted(job=job_of(row), created=is_new)
