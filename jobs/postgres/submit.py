"""How jobs come into the ledger: keys, models, and one transaction for many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    JSON,
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
from sqlalchemy.sql.dml import ReturningInsert

from jobs.errors import IdempotencyConflict, JobsError
from jobs.ids import new_job_id
from jobs.keys import Keyed, keyed
from jobs.ledger import Submitted
from jobs.model import Job, JobId, NewJob, ServedModel
from jobs.postgres.offers import Models
from jobs.postgres.rows import job_of, values_of
from jobs.postgres.tables import job, state_is
from jobs.states import JobState

SUBMITTER: Final = "producer"
TEXTS: Final = ARRAY(Text())

#: Tenant and key: what one live job may have.
Place = tuple[str, str]

#: What a new row is made of: its columns but the two that follow.
COLUMNS: Final = (
    *(job.c.id, job.c.tenant, job.c.queue, job.c.priority, job.c.batch, job.c.model),
    *(job.c.profile, job.c.instruction, job.c.pictures, job.c.seed, job.c.parameters),
    *(job.c.metadata_, job.c.idempotency_key, job.c.key_derived, job.c.fingerprint),
    *(job.c.replay_of, job.c.max_failures, job.c.run_limit, job.c.keep_for),
    *(job.c.moved_by, job.c.moved_why),
)
JSON_OF: Final[Mapping[type, Callable[[Any], Any]]] = {
    UUID: str,
    timedelta: lambda span: f"{span.days} days {span.seconds}.{span.microseconds:06} seconds",
}


def _inserting(*returned: Any) -> ReturningInsert[Any]:  # noqa: ANN401 - columns, or a table
    """One text and one parameter, however many rows: nothing to be put together or planned anew."""
    names = [column(one.name, one.type) for one in COLUMNS]
    rows = func.json_to_recordset(bindparam("rows", type_=JSON()))
    fresh = rows.table_valued(*names, column("start_within", Interval()))
    fresh = fresh.render_derived("fresh", with_types=True)
    values = select(*(fresh.c[one.name] for one in COLUMNS), func.now() + fresh.c.start_within)
    return (
        insert(job)
        .from_select([*COLUMNS, job.c.start_by], values, include_defaults=False)
        .on_conflict_do_nothing(
            index_elements=["tenant", "idempotency_key"], index_where=~job.c.superseded
        )
        .returning(*returned)
    )


INSERT: Final = _inserting(job.c.id, job.c.created_at)
INSERT_WHOLE: Final = _inserting(job)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The job that holds a key."""

    job: Job
    fingerprint: str


Found = dict[Place, Standing]
Wanted = Mapping[JobId, Keyed]


def submit_fresh(connection: Connection, new: NewJob, models: Models) -> Submitted | None:
    """One statement, which commits by itself; ``None`` if the key stands, and nothing changed."""
    (item,) = _keyed([new], models.known(connection))
    if isinstance(item, JobsError):
        return None
    found = _insert(connection, {new_job_id(): item})
    return Submitted(job=found[_place_of(item)].job, created=True) if found else None


def submit(
    connection: Connection, new: Sequence[NewJob], models: Models
) -> list[Submitted | JobsError]:
    """One transaction of the caller's.  New keys, the usual case, cost it one statement."""
    items = _keyed(new, models.known(connection))
    if any(isinstance(item, JobsError) for item in items):  # its workers may have come just now
        items = _keyed(new, models.asked(connection))
    # Their ids are made before they are sorted, and once: jobs of one submission keep their order,
    # also one that takes an ended job's key over.
    wanted = {new_job_id(): item for item in items if isinstance(item, Keyed)}
    found = _insert(connection, wanted)
    created = {one.job.id for one in found.values()}
    standing = _without(wanted, found)
    if standing:
        _supersede(connection, [*standing.values()])
    while standing:  # again, where retention has just removed what stood in the way
        fresh = _insert(connection, standing)
        created |= {one.job.id for one in fresh.values()}
        found |= _standing(connection, [*standing.values()]) | fresh
        standing = _without(standing, found)
    return [
        item if isinstance(item, JobsError) else _outcome(item, found, created) for item in items
    ]


def _without(wanted: Wanted, found: Found) -> Wanted:
    return {job_id: item for job_id, item in wanted.items() if _place_of(item) not in found}


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


def _insert(connection: Connection, wanted: Wanted) -> Found:
    """The jobs that were new.  A key that stands already, or is wanted twice, adds nothing."""
    if not wanted:
        return {}
    rows = sorted((_row(one, item) for one, item in wanted.items()), key=place)
    made = connection.execute(INSERT, {"rows": rows})
    return {
        _place_of(wanted[one]): Standing(
            job=wanted[one].job(one, created_at), fingerprint=wanted[one].fingerprint
        )
        for one, created_at in made
    }


def insert_rows(
    connection: Connection, rows: Sequence[Mapping[str, Any]]
) -> dict[Place, RowMapping]:
    """Those whose keys no live job has; sort them by key before."""
    made = connection.execute(INSERT_WHOLE, {"rows": [*map(as_json, rows)]})
    return {place(row): row for row in made.mappings()}


def _row(job_id: JobId, item: Keyed) -> dict[str, Any]:
    values = values_of(item.new, item.served, key=item.key, seed=item.seed)
    return as_json(
        {
            "id": job_id,
            **values,
            "start_within": item.new.start_within,
            "moved_by": SUBMITTER,
            "moved_why": "submitted",
        }
    )


def as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON knows them, and those alone that the columns lack by themselves."""
    return {
        name: JSON_OF[type(value)](value) if type(value) in JSON_OF else value
        for name, value in row.items()
        if value is not None
    }


def place(row: Mapping[str, Any] | RowMapping) -> Place:
    return row["tenant"], row["idempotency_key"]


def _place_of(item: Keyed) -> Place:
    return item.new.tenant, item.key


def live(connection: Connection, places: Iterable[Place]) -> dict[Place, RowMapping]:
    """The jobs that hold these keys."""
    rows = connection.execute(select(job).where(_is_live(_keys(places)))).mappings()
    return {place(row): row for row in rows}


def _standing(connection: Connection, items: Sequence[Keyed]) -> Found:
    return {
        at: Standing(job=job_of(row), fingerprint=row["fingerprint"])
        for at, row in live(connection, map(_place_of, items)).items()
    }


def _outcome(item: Keyed, found: Found, created: set[JobId]) -> Submitted | JobsError:
    one = found[_place_of(item)]
    if one.fingerprint != item.fingerprint:
        return IdempotencyConflict(
            f"idempotency key {item.key!r} belongs to job {one.job.id}, which asks for something"
            " else: use another key, or send the same request"
        )
    is_new = one.job.id in created
    created.discard(one.job.id)  # of two equal items in one call, the first made it
    return Submitted(job=one.job, created=is_new)
