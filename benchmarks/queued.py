"""A ledger with very many queued jobs, written by SQL: what a tick and a question then cost."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import text

from jobs.model import ServedModel, WorkerInfo
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger

MODEL: Final = ServedModel(
    name="bench", revision="r1", profile_group="default", profiles=("quality",)
)
#: Jobs of the same model that wait for a profile which no worker has.
STRANDED: Final = "edit.bench.unserved"
WORKER: Final = WorkerInfo(id=uuid4(), holder="bench/gpu-1/1", card="gpu-1", model=MODEL)
TENANTS: Final = 20

_ROWS: Final = text(
    """
    INSERT INTO job (id, tenant, state, queue, priority, batch, model, profile, instruction,
        pictures, seed, parameters, metadata, idempotency_key, key_derived, fingerprint,
        max_failures, attempt, failures, not_before, created_at, started_at, finished_at,
        result, moved_by, moved_why)
    SELECT (lpad(to_hex(:start + number), 12, '0') || '7' || substr(md5(number::text), 1, 3)
            || '8' || substr(md5(number::text), 4, 15))::uuid,
        'tenant-' || number % :tenants, :state, :queue, (ARRAY[0, 5, 9])[1 + number % 3],
        'batch-' || number / 1000, 'bench', :profile, 'make it red', ARRAY[md5(number::text)
            || md5(number::text)], number, '{"format": "png", "steps": null,
            "true_cfg_scale": null, "negative": null, "size": "auto"}', '{"sku": "7"}',
        :queue || :state || :start + number, false, 'f', 3, :attempt, :attempt,
        now() + :backs_off * interval '1 hour', now(),
        CASE WHEN :attempt > 0 THEN now() END,
        CASE WHEN :state = 'succeeded' THEN now() END,
        CASE WHEN :state = 'succeeded' THEN jsonb_build_object('key', number, 'sha256', 'x',
            'bytes', 1, 'media_type', 'image/png', 'width', 1, 'height', 1, 'suspect', NULL) END,
        'bench', 'submitted'
    FROM generate_series(1, :count) AS number
    """
)


def fill(database: Database, *, queued: int, backing_off: int = 0, ended: int = 0) -> None:
    """Those that back off are older than all others; twenty tenants, three priorities."""
    common = {"tenants": TENANTS, "profile": "quality", "queue": MODEL.queue}
    plain = {**common, "state": "queued", "attempt": 0, "backs_off": None}
    stranded = {**plain, "queue": STRANDED, "profile": "turbo"}
    with database.begin(patience=None) as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        if backing_off:
            late = {**common, "state": "queued", "attempt": 1, "backs_off": 1}
            connection.execute(_ROWS, {**late, "count": backing_off, "start": 1_000_000})
        if ended:
            done = {**common, "state": "succeeded", "attempt": 1, "backs_off": None}
            connection.execute(_ROWS, {**done, "count": ended, "start": 2_000_000})
        connection.execute(_ROWS, {**plain, "count": queued, "start": 3_000_000})
        connection.execute(_ROWS, {**stranded, "count": queued // 10, "start": 9_000_000})
    with database.connect() as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM ANALYZE job")
        connection.exec_driver_sql("SET statement_timeout TO DEFAULT")
    PostgresLedger(database).register(WORKER)


def last_job(database: Database) -> UUID:
    """The one that stands at the very end of the line."""
    statement = text(
        "SELECT id FROM job WHERE queue = :queue AND state = 'queued' AND priority = 0"
        " ORDER BY id DESC LIMIT 1"
    )
    with database.connect() as connection:
        found: UUID = connection.execute(statement, {"queue": MODEL.queue}).scalar_one()
    return found
