"""The ledger's tables as SQLAlchemy sees them; the migrations hold the whole truth."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Identity,
    Integer,
    Interval,
    MetaData,
    Named,
    Select,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
    Uuid,
    and_,
    any_,
    func,
    literal_column,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from jobs.ledger import WORKER_TIMEOUT
from jobs.states import JobState

metadata = MetaData()

Instant = DateTime(timezone=True)


class JobColumns(TypedColumns):
    id: Named[UUID] = Column(Uuid, primary_key=True)
    tenant: Named[str] = Column(Text)
    state: Named[str] = Column(Text)
    queue: Named[str] = Column(Text)
    priority: Named[int] = Column(SmallInteger)
    batch: Named[str | None] = Column(Text)
    # the request
    model: Named[str] = Column(Text)
    profile: Named[str] = Column(Text)
    instruction: Named[str] = Column(Text)
    pictures: Named[list[str]] = Column(ARRAY(Text))
    seed: Named[int] = Column(BigInteger)
    parameters: Named[dict[str, Any]] = Column(JSONB)
    metadata_: Named[dict[str, str]] = Column("metadata", JSONB)
    # whose it is
    idempotency_key: Named[str] = Column(Text)
    key_derived: Named[bool]
    fingerprint: Named[str] = Column(Text)
    superseded: Named[bool]
    replay_of: Named[UUID | None] = Column(Uuid)
    # how far it is
    attempt: Named[int] = Column(Integer)
    failures: Named[int] = Column(Integer)
    max_failures: Named[int] = Column(Integer)
    steps_done: Named[int] = Column(Integer)
    steps_total: Named[int] = Column(Integer)
    worker_id: Named[UUID | None] = Column(Uuid)
    holder: Named[str | None] = Column(Text)
    release: Named[str | None] = Column(Text)
    lease_expires_at: Named[datetime | None] = Column(Instant)
    attempt_started_at: Named[datetime | None] = Column(Instant)
    timings: Named[dict[str, float] | None] = Column(JSONB(none_as_null=True))
    # when
    created_at: Named[datetime] = Column(Instant)
    dispatched_at: Named[datetime | None] = Column(Instant)
    not_before: Named[datetime | None] = Column(Instant)
    start_by: Named[datetime | None] = Column(Instant)
    run_limit: Named[timedelta | None] = Column(Interval)
    keep_for: Named[timedelta | None] = Column(Interval)
    started_at: Named[datetime | None] = Column(Instant)
    cancel_requested_at: Named[datetime | None] = Column(Instant)
    finished_at: Named[datetime | None] = Column(Instant)
    expires_at: Named[datetime | None] = Column(Instant)
    # how it ended
    result: Named[dict[str, Any] | None] = Column(JSONB(none_as_null=True))
    result_deleted_at: Named[datetime | None] = Column(Instant)
    failure_class: Named[str | None] = Column(Text)
    error_code: Named[str | None] = Column(Text)
    error: Named[str | None] = Column(Text)
    # the last move, copied to the audit by a trigger
    moved_by: Named[str] = Column(Text)
    moved_why: Named[str] = Column(Text)


job = Table("job", metadata, JobColumns)


def state_is(*states: JobState) -> ColumnElement[bool]:
    """``state = 'queued'`` as text, not as a parameter: a prepared statement's general plan
    can use an index ``WHERE state = 'queued'`` only if it sees the word."""
    words = [literal_column(f"'{state.value}'", Text) for state in states]
    return job.c.state.in_(words) if len(words) > 1 else job.c.state == words[0]


def state_still_is(state: JobState) -> ColumnElement[bool]:
    """Of rows that their keys lead to: in words of which no index ``WHERE state = …`` is thought.

    One that statistics take for empty is read instead of the keys', and may hold the whole queue.
    """
    return job.c.state.concat(literal_column("''", Text)) == literal_column(
        f"'{state.value}'", Text
    )


def is_among(chosen: Select[UUID]) -> ColumnElement[bool]:
    """``id = ANY (ARRAY (SELECT …))``: read by the primary key, where ``id IN (SELECT …)`` may be
    joined with the whole table."""
    return job.c.id == any_(func.array(chosen.scalar_subquery(), type_=ARRAY(Uuid())))


class AttemptColumns(TypedColumns):
    job_id: Named[UUID] = Column(Uuid, primary_key=True)
    number: Named[int] = Column(Integer, primary_key=True)
    worker_id: Named[UUID | None] = Column(Uuid)
    holder: Named[str] = Column(Text)
    card: Named[str | None] = Column(Text)
    model_revision: Named[str | None] = Column(Text)
    release: Named[str | None] = Column(Text)
    started_at: Named[datetime] = Column(Instant)
    ended_at: Named[datetime | None] = Column(Instant)
    outcome: Named[str | None] = Column(Text)
    failure_class: Named[str | None] = Column(Text)
    error_code: Named[str | None] = Column(Text)
    error: Named[str | None] = Column(Text)
    timings: Named[dict[str, float] | None] = Column(JSONB(none_as_null=True))


attempt = Table("attempt", metadata, AttemptColumns)


class MoveColumns(TypedColumns):
    id: Named[int] = Column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Named[UUID] = Column(Uuid)
    at: Named[datetime] = Column(Instant)
    who: Named[str] = Column(Text)
    from_state: Named[str | None] = Column(Text)
    to_state: Named[str] = Column(Text)
    attempt: Named[int] = Column(Integer)
    why: Named[str] = Column(Text)


move = Table("move", metadata, MoveColumns)


class InputColumns(TypedColumns):
    tenant: Named[str] = Column(Text, primary_key=True)
    sha256: Named[str] = Column(Text, primary_key=True)
    bytes: Named[int] = Column(BigInteger)
    media_type: Named[str] = Column(Text)
    created_at: Named[datetime] = Column(Instant)
    used_at: Named[datetime] = Column(Instant)


input_ = Table("input", metadata, InputColumns)


class ModelColumns(TypedColumns):
    name: Named[str] = Column(Text, primary_key=True)
    profile_group: Named[str] = Column(Text, primary_key=True)
    revision: Named[str] = Column(Text, primary_key=True)
    profiles: Named[list[str]] = Column(ARRAY(Text))
    registered_at: Named[datetime] = Column(Instant)


model = Table("model", metadata, ModelColumns)


class WorkerColumns(TypedColumns):
    id: Named[UUID] = Column(Uuid, primary_key=True)
    holder: Named[str] = Column(Text)
    card: Named[str] = Column(Text)
    queue: Named[str] = Column(Text)
    model: Named[str] = Column(Text)
    profile_group: Named[str] = Column(Text)
    revision: Named[str] = Column(Text)
    release: Named[str | None] = Column(Text)
    started_at: Named[datetime] = Column(Instant)
    seen_at: Named[datetime] = Column(Instant)
    left_at: Named[datetime | None] = Column(Instant)


worker = Table("worker", metadata, WorkerColumns)


def is_alive() -> ColumnElement[bool]:
    """Neither left nor silent for long."""
    return and_(worker.c.left_at.is_(None), worker.c.seen_at > func.now() - WORKER_TIMEOUT)
