"""How jobs come into the ledger: keys, models, and one transaction for many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Interval,
    RowMapping,
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
from jobs.model import NewJob, ServedModel, new_job_id
from jobs.postgres.offers import Models
from jobs.postgres.rows import job_of, values_of
from jobs.postgres.tables import job, state_is
from jobs.states import JobState

SUBMITTER: Final = "producer"
TEXTS: Final = ARRAY(Text())

#: Tenant and key: what one live job may have.
Place = tuple[str, str]


def submit(
    connection: Connection, new: Sequence[NewJob], models: Models
) -> list[Submitted | JobsError]:
    """One transaction of the caller's.  New keys, the usual case, cost it one statement."""
    items = _keyed(new, models.known(connection))
    if any(isinstance(item, JobsError) for item in items):  # its workers may have come just now
        items = _keyed(new, models.asked(connection))
    wanted = [item for item in items if isinstance(item, Keyed)]
    found = _insert(connection, wanted)
    created = {row["id"] for row in found.values()}
    standing = [item for item in wanted if _place_of(item) not in found]
    if standing:
        _supersede(connection, standing)
    while standing:  # again, where retention has just removed what stood in the way
        created |= {row["id"] for row in _insert(connection, standing).values()}
        found |= live(connection, map(_place_of, standing))
        standing = [item for item in standing if _place_of(item) not in found]
    return [
        item if isinstance(item, JobsError) else _outcome(item, found, created) for item in items
    ]


def _keyed(new: Sequence[NewJob], models: Sequence[ServedModel]) -> list[Keyed | JobsError]:
    return [keyed(one, models) for one in new]


def _keys(places: Iterable[Place]) -> TableValuedAlias:
    """Keys as rows of a table: arrays, so that thousands are still one statement."""
    tenants, names = zip(*sorted(set(places)), strict=True)
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
        .where(_is_live(_keys(map(_place_of, derived))), job.c.key_derived, gone)
        .order_by(job.c.id)  # two that lock the same rows do so in the same order
        .with_for_update(of=job)
        .correlate(None)
    )
    connection.execute(update(job).where(job.c.id.in_(useless)).values(superseded=True))


def _insert(connection: Connection, items: Sequence[Keyed]) -> dict[Place, RowMapping]:
    """The rows that were new.  A key that stands already, or twice in ``items``, adds nothing."""
    if not items:
        return {}
    # Two calls with the same keys wait for each other's inserts: in one order, or it is a deadlock.
    # Their ids are made before that, so that jobs of one submission keep their order.
    rows = sorted((_row(item) for item in items), key=place)
    return insert_rows(connection, rows)


def insert_rows(
    connection: Connection, rows: Sequence[Mapping[str, Any]]
) -> dict[Place, RowMapping]:
    """Those whose keys no live job has; sort them by key before."""
    statement = (
        insert(job)
        .values(start_by=func.now() + bindparam("start_within", type_=Interval))
        .on_conflict_do_nothing(
            index_elements=["tenant", "idempotency_key"], index_where=~job.c.superseded
        )
        .returning(job)
    )
    return {place(row): row for row in connection.execute(statement, rows).mappings()}


def _row(item: Keyed) -> dict[str, Any]:
    values = values_of(item.new, item.served, key=item.key, seed=item.seed)
    return {
        "id": new_job_id(),
        **values,
        "start_within": item.new.start_within,
        "moved_by": SUBMITTER,
        "moved_why": "submitted",
    }


def place(row: Mapping[str, Any] | RowMapping) -> Place:
    return row["tenant"], row["idempotency_key"]


def _place_of(item: Keyed) -> Place:
    return item.new.tenant, item.key


def live(connection: Connection, places: Iterable[Place]) -> dict[Place, RowMapping]:
    """The jobs that hold these keys."""
    rows = connection.execute(select(job).where(_is_live(_keys(places)))).mappings()
    return {place(row): row for row in rows}


def _outcome(
    item: Keyed, found: Mapping[tuple[str, str], Any], created: set[Any]
) -> Submitted | JobsError:
    row = found[_place_of(item)]
    if row["fingerprint"] != item.fingerprint:
        return IdempotencyConflict(
            f"idempotency key {item.key!r} belongs to job {row['id']}, which asks for something"
            " else: use another key, or send the same request"
        )
    is_new = row["id"] in created
    created.discard(row["id"])  # of two equal items in one call, the first made it
    return Submitted(job=job_of(row), created=is_new)
