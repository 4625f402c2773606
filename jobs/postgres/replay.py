"""A dead letter's second life: a new job of the same request, which takes the key over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Uuid, any_, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from jobs.errors import JobNotFound, JobsError
from jobs.ids import new_job_id
from jobs.keys import check_replayable, queue_again
from jobs.ledger import Submitted
from jobs.model import JobId, ServedModel
from jobs.postgres.inputs import touch
from jobs.postgres.offers import Models
from jobs.postgres.rows import job_of, request_of
from jobs.postgres.submit import Place, insert_rows, live, place
from jobs.postgres.tables import job

#: What the new job has of the old one.
COPIED: Final = (
    *("tenant", "priority", "batch", "model", "profile", "instruction", "pictures", "seed"),
    *("parameters", "idempotency_key", "key_derived", "fingerprint"),
    *("max_failures", "run_limit", "keep_for"),
)

Rows = Mapping[JobId, RowMapping]


def replay(
    connection: Connection, job_ids: Sequence[JobId], who: str, models: Models
) -> list[Submitted | JobsError]:
    """One transaction of the caller's."""
    rows = _locked(connection, job_ids)
    refused = _refused(connection, rows)
    wanted = [row for one, row in rows.items() if one not in refused]
    offered = models.asked(connection)
    made = _make(connection, [one for one in wanted if not one["superseded"]], who, offered)
    holders = dict(made)
    # Replayed, or submitted anew, before: the key leads to the job that followed.
    again = [place(row) for row in wanted if row["superseded"]]
    if again:
        holders |= live(connection, again)
        free = {place(row): row for row in wanted if place(row) not in holders}
        late = _make(connection, [*free.values()], who, offered)
        made |= late
        holders |= late
        taken = [one for one in free if one not in late]  # by somebody else, just now
        holders |= live(connection, taken) if taken else {}
    created = {row["replay_of"] for row in made.values()}
    return [
        refused.get(one) or _outcome(rows[one], holders, created=one in created)
        if one in rows
        else JobNotFound(f"no job {one}")
        for one in job_ids
    ]


def _locked(connection: Connection, job_ids: Sequence[JobId]) -> Rows:
    statement = (
        select(job)
        .where(job.c.id == any_(literal(sorted(set(job_ids)), ARRAY(Uuid()))))
        .order_by(job.c.id)  # two that lock the same rows do so in the same order
        .with_for_update()
    )
    return {JobId(row["id"]): row for row in connection.execute(statement).mappings()}


def _refused(connection: Connection, rows: Rows) -> dict[JobId, JobsError]:
    stored = _touched(connection, rows)
    found = {
        one: check_replayable(job_of(row), stored=stored[row["tenant"]])
        for one, row in rows.items()
    }
    return {one: error for one, error in found.items() if error is not None}


def _touched(connection: Connection, rows: Rows) -> dict[str, set[str]]:
    """The inputs that are kept, by tenant; marked as used, so that no sweep takes them."""
    wanted: dict[str, set[str]] = {row["tenant"]: set() for row in rows.values()}
    for row in rows.values():
        wanted[row["tenant"]] |= set(row["pictures"])
    return {
        tenant: touch(connection, tenant, sorted(digests))
        for tenant, digests in sorted(wanted.items())
    }


def _make(
    connection: Connection,
    old: Sequence[RowMapping],
    who: str,
    offered: Sequence[ServedModel],
) -> dict[Place, RowMapping]:
    if not old:
        return {}
    ids = [row["id"] for row in old]
    connection.execute(
        update(job).where(job.c.id == any_(literal(ids, ARRAY(Uuid())))).values(superseded=True)
    )
    fresh = [_row(row, who, offered) for row in old]
    return insert_rows(connection, sorted(fresh, key=place))


def _row(old: RowMapping, who: str, offered: Sequence[ServedModel]) -> dict[str, Any]:
    start_by = old["start_by"]
    return {
        "id": new_job_id(),
        **{name: old[name] for name in COPIED},
        "metadata": old["metadata"],
        "queue": queue_again(request_of(old), offered),
        "replay_of": old["id"],
        "start_within": start_by - old["created_at"] if start_by else None,
        "moved_by": who,
        "moved_why": f"replay of {old['id']}",
    }


def _outcome(old: RowMapping, holders: Mapping[Place, RowMapping], *, created: bool) -> Submitted:
    return Submitted(job=job_of(holders[place(old)]), created=created)
