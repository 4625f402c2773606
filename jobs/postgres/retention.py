"""``jobs.retention.Retention`` in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    and_,
    column,
    delete,
    func,
    literal,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from jobs.model import ArtifactKey, Job, JobId
from jobs.postgres.connection import Database
from jobs.postgres.inputs import DOOMED, is_doomed
from jobs.postgres.rows import job_of
from jobs.postgres.tables import input_, is_alive, is_among, job, state_is, worker
from jobs.retention import StoredInput
from jobs.states import JobState

#: What the trigger on the audit asks for, for this transaction alone.
ALLOWED: Final = "SET LOCAL packshot.retention = 'on'"
#: Longer than a store that does not answer is waited for: until then nobody counts on an input
#: that is being deleted.
HANDS_ON: Final = "SET LOCAL idle_in_transaction_session_timeout = '120s'"
UNKNOWN_MEDIA: Final = "application/octet-stream"


class PostgresRetention:
    """Thread-safe; one pool of connections."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def due_results(self, keep: timedelta, *, limit: int) -> Sequence[Job]:
        statement = select(job).where(is_among(_withdrawable(keep, limit)))
        return [job_of(row) for row in self._rows(statement.order_by(job.c.finished_at))]

    def withdraw_results(self, keep: timedelta, *, limit: int) -> Sequence[Job]:
        due = _withdrawable(keep, limit)
        statement = (
            update(job)
            .where(is_among(due), job.c.result_deleted_at.is_(None))
            .values(result_deleted_at=func.now())
            .returning(job)
        )
        return [job_of(row) for row in self._rows(statement)]

    def due_jobs(self, keep: timedelta, *, limit: int) -> Sequence[JobId]:
        statement = select(job.c.id).where(_ended_before(keep)).order_by(job.c.finished_at)
        return [JobId(row["id"]) for row in self._rows(statement.limit(limit))]

    def remove_jobs(self, keep: timedelta, *, limit: int) -> int:
        pictureless = or_(job.c.result.is_(None), job.c.result_deleted_at.is_not(None))
        old = (
            select(job.c.id)
            .where(_ended_before(keep), pictureless)
            .order_by(job.c.finished_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with self.database.begin() as connection:
            connection.exec_driver_sql(ALLOWED)
            gone = connection.execute(delete(job).where(is_among(old)))
            return gone.rowcount

    def due_inputs(self, keep: timedelta, *, limit: int) -> Sequence[StoredInput]:
        return [_stored(row) for row in self._rows(_unused(keep).limit(limit))]

    def remove_inputs(
        self,
        keep: timedelta,
        *,
        limit: int,
        delete: Callable[[Sequence[ArtifactKey]], None],
    ) -> Sequence[StoredInput]:
        self._doom(keep, limit)
        mine = select(input_).where(is_doomed()).limit(limit).with_for_update(skip_locked=True)
        with self.database.begin() as connection:
            connection.exec_driver_sql(HANDS_ON)
            doomed = [_stored(row) for row in connection.execute(mine).mappings()]
            if doomed:
                _forget(connection, doomed)
                # Whatever ends this here, the rows are back, and doomed.
                delete([one.key for one in doomed])
        return doomed

    def _doom(self, keep: timedelta, limit: int) -> None:
        """From here on nobody counts on them, even if we are killed among their objects."""
        locked = _unused(keep).limit(limit).with_for_update(of=input_, skip_locked=True)
        with self.database.begin() as connection:
            due = [_stored(row) for row in connection.execute(locked).mappings()]
            if due:
                connection.execute(update(input_).where(_among(due)).values(used_at=DOOMED))

    def unrecorded(self, inputs: Sequence[StoredInput]) -> Sequence[StoredInput]:
        known = select(input_.c.tenant, input_.c.sha256).where(_among(inputs))
        found = {(row["tenant"], row["sha256"]) for row in self._rows(known)} if inputs else set()
        return [one for one in inputs if (one.tenant, one.sha256) not in found]

    def adopt(self, inputs: Sequence[StoredInput]) -> int:
        rows = [
            {
                "tenant": one.tenant,
                "sha256": one.sha256,
                "bytes": max(one.bytes, 1),
                "media_type": UNKNOWN_MEDIA,
            }
            for one in inputs
        ]
        if not rows:
            return 0
        fresh = insert(input_).values(created_at=func.now(), used_at=func.now())
        statement = fresh.on_conflict_do_nothing().returning(input_.c.sha256)
        with self.database.begin() as connection:
            return len(connection.execute(statement, rows).all())

    def due_workers(self, keep: timedelta, *, limit: int) -> Sequence[UUID]:
        return [
            row["id"] for row in self._rows(select(worker.c.id).where(_silent(keep)).limit(limit))
        ]

    def remove_workers(self, keep: timedelta, *, limit: int) -> int:
        old = select(worker.c.id).where(_silent(keep)).limit(limit)
        old = old.with_for_update(skip_locked=True)
        with self.database.connect() as connection:
            gone = connection.execute(delete(worker).where(worker.c.id.in_(old.scalar_subquery())))
            return gone.rowcount

    def _rows(self, statement: Any) -> Sequence[Any]:  # noqa: ANN401 - rows, by their names
        with self.database.connect() as connection:
            return connection.execute(statement).mappings().all()


def _withdrawable(keep: timedelta, limit: int) -> Select[UUID]:
    """By one index or by the other: an OR would read the table."""
    announced = and_(state_is(JobState.SUCCEEDED), job.c.result_deleted_at.is_(None))
    expired = select(job.c.id).where(announced, job.c.expires_at <= func.now()).limit(limit)
    # How long the caller wanted it kept stands above policy.
    old = (
        select(job.c.id)
        .where(announced, job.c.expires_at.is_(None), _ended_before(keep))
        .limit(limit)
    )
    either = union(select(expired.subquery().c.id), select(old.subquery().c.id)).subquery()
    return select(either.c.id).limit(limit)


def _ended_before(keep: timedelta) -> ColumnElement[bool]:
    return job.c.finished_at < func.now() - keep


def _unused(keep: timedelta) -> Select[Any]:
    """A queued or running job needs its inputs, however long ago they were uploaded."""
    digest = func.unnest(job.c.pictures).label("sha256")
    live = select(job.c.tenant, digest).where(state_is(JobState.QUEUED, JobState.RUNNING))
    needed = live.subquery("needed")
    is_needed = (
        select(literal(1))
        .where(needed.c.tenant == input_.c.tenant, needed.c.sha256 == input_.c.sha256)
        .exists()
    )
    return (
        select(input_)
        .where(input_.c.used_at < func.now() - keep, ~is_needed)
        .order_by(input_.c.used_at)
    )


def _forget(connection: Connection, inputs: Sequence[StoredInput]) -> None:
    connection.execute(delete(input_).where(_among(inputs)))


def _among(inputs: Sequence[StoredInput]) -> ColumnElement[bool]:
    """Arrays keep the statement's text the same, however many there are."""
    texts = ARRAY(String())
    table = func.unnest(
        literal([one.tenant for one in inputs], texts),
        literal([one.sha256 for one in inputs], texts),
    ).table_valued(column("tenant", String()), column("sha256", String()))
    these = table.render_derived("these")
    return (
        select(literal(1, Integer()))
        .where(these.c.tenant == input_.c.tenant, these.c.sha256 == input_.c.sha256)
        .exists()
    )


def _silent(keep: timedelta) -> ColumnElement[bool]:
    return and_(worker.c.seen_at < func.now() - keep, ~is_alive())


def _stored(row: Any) -> StoredInput:  # noqa: ANN401 - a row of ``input``
    return StoredInput(tenant=row["tenant"], sha256=row["sha256"], bytes=row["bytes"])
