"""The schema's revisions: applied once, and never used when they do not fit."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text

from jobs.errors import SchemaMismatch
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.migrate import NOTE, USABLE_FROM, check_schema, migrate
from jobs.postgres.migrations import versions
from tests.conformance.scenes import UNKNOWN, WORKER, at_once, new, submitted
from tests.services import fresh_database


@pytest.fixture
def bare(postgres_url: str) -> Iterator[Database]:
    """An empty database."""
    with fresh_database(postgres_url) as url:
        database = Database(url)
        yield database
        database.close()


def stamp(database: Database, revision: str, *, usable_from: str = "9999") -> None:
    """As a program of that revision would leave it."""
    with database.connect() as connection:
        connection.execute(text("UPDATE packshot_version SET version_num = :r"), {"r": revision})
        connection.execute(text(f"COMMENT ON TABLE packshot_version IS '{NOTE}{usable_from}'"))


def test_an_empty_database_becomes_a_ledger(bare: Database) -> None:
    revision = migrate(bare)
    check_schema(bare)
    ledger = PostgresLedger(bare)
    ledger.register(WORKER)

    assert revision == "0004"
    assert submitted(ledger).attempt == 0


def test_migrating_again_changes_nothing(bare: Database) -> None:
    migrate(bare)
    ledger = PostgresLedger(bare)
    ledger.register(WORKER)
    job = submitted(ledger)

    assert migrate(bare) == "0004"
    assert ledger.get(job.id) == job


def test_two_may_migrate_at_once(bare: Database) -> None:
    assert at_once([partial(migrate, bare)] * 2) == ["0004", "0004"]


def test_a_migration_leaves_no_limits_behind(bare: Database) -> None:
    migrate(bare)
    with bare.connect() as connection:
        limit = connection.execute(text("SHOW statement_timeout")).scalar_one()

    assert limit == "15s"


CALLS: dict[str, Callable[[PostgresLedger], object]] = {
    "get": lambda ledger: ledger.get(UNKNOWN),
    "submit": lambda ledger: ledger.submit([new()]),
    "register": lambda ledger: ledger.register(WORKER),
    "check": lambda ledger: check_schema(ledger.database),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_database_without_a_ledger_says_what_to_do(
    bare: Database, call: Callable[[PostgresLedger], object]
) -> None:
    with pytest.raises(SchemaMismatch, match="packshot init"):
        call(PostgresLedger(bare))


@pytest.mark.parametrize(
    ("other", "to_do"),
    [("0001", "needs 0004: run 'packshot init' of this"), ("9999", "run the newer version here")],
)
def test_another_revision_is_refused_with_what_to_do(
    bare: Database, other: str, to_do: str
) -> None:
    migrate(bare)
    stamp(bare, other)

    with pytest.raises(SchemaMismatch, match=rf"schema {other}.*{to_do}"):
        check_schema(bare)


def test_a_newer_ledger_that_may_be_used_is_used_and_left_as_it_is(bare: Database) -> None:
    """A release beside the next one, or back after it, over a migration that only added."""
    migrate(bare)
    stamp(bare, "9999", usable_from="0004")

    check_schema(bare)

    assert migrate(bare) == "9999"


def test_a_newer_ledger_that_says_nothing_is_refused(bare: Database) -> None:
    migrate(bare)
    stamp(bare, "9999")
    with bare.connect() as connection:
        connection.execute(text("COMMENT ON TABLE packshot_version IS NULL"))

    with pytest.raises(SchemaMismatch, match="run the newer version here"):
        check_schema(bare)


@contextmanager
def reader_of(database: Database) -> Iterator[Database]:
    """The same database as a role that owns nothing of it."""
    role = f"packshot_reader_{secrets.token_hex(6)}"
    with database.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'reader'")
        connection.exec_driver_sql(f"GRANT SELECT ON packshot_version TO {role}")
    url = database.engine.url.set(username=role, password="reader")
    reader = Database(url.render_as_string(hide_password=False))
    try:
        yield reader
    finally:
        reader.close()
        with database.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")


def test_a_role_that_owns_nothing_may_run_init_of_a_ledger_that_is_up_to_date(
    bare: Database,
) -> None:
    migrate(bare)
    with bare.begin() as connection:
        connection.exec_driver_sql("COMMENT ON TABLE packshot_version IS NULL")

    with reader_of(bare) as reader:
        assert migrate(reader) == "0004"
        check_schema(reader)


TAKES_AWAY: Final = re.compile(
    r"\b(DROP|RENAME|SET NOT NULL)\b|\bALTER\s+(COLUMN\s+)?\w+\s+(SET DATA )?TYPE\b", re.IGNORECASE
)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE job DROP COLUMN seed",
        "ALTER TABLE job RENAME TO edit",
        "ALTER TABLE job ALTER COLUMN seed TYPE numeric",
        "ALTER TABLE job ALTER seed SET NOT NULL",
        "drop function moved",
    ],
)
def test_what_takes_away_is_known(statement: str) -> None:
    assert TAKES_AWAY.search(statement)


def test_no_migration_since_the_oldest_program_that_may_use_the_ledger_takes_away() -> None:
    """Who writes one that does raises ``USABLE_FROM`` to it."""
    (folder,) = versions.__path__
    newer = [one for one in Path(folder).glob("[0-9]*.py") if one.name[:4] > USABLE_FROM]

    assert (Path(folder) / "0004_recent_of_a_queue.py").exists()
    assert [one.name for one in newer if TAKES_AWAY.search(one.read_text("utf-8"))] == []


def test_a_newer_ledger_is_not_migrated_back(bare: Database) -> None:
    migrate(bare)
    stamp(bare, "9999")

    with pytest.raises(SchemaMismatch, match=r"9999.*does not know"):
        migrate(bare)


OLD_ROWS = """
INSERT INTO job (id, tenant, state, queue, priority, model, profile, instruction, pictures, seed,
    parameters, idempotency_key, key_derived, fingerprint, max_failures, attempt, failures,
    not_before, moved_by, moved_why)
SELECT gen_random_uuid(), 'a', 'queued', 'edit.edit.default', 5, 'edit', 'quality', 'make it red',
    ARRAY[repeat('a', 64)], 0, '{"format": "png", "steps": null, "true_cfg_scale": null,
    "negative": null, "size": "auto"}', 'k' || number, false, 'f', 3, number % 2, number % 2,
    CASE WHEN number % 2 = 1 THEN now() - interval '1 minute' END, 'producer', 'submitted'
FROM generate_series(1, 100) AS number
"""


def test_a_ledger_with_rows_is_brought_up_to_date(bare: Database) -> None:
    """From the first schema: its jobs, those that back off included, are claimed as before."""
    migrate(bare, to="0001")
    with bare.connect() as connection:
        connection.execute(text(OLD_ROWS))
    assert migrate(bare) == "0004"
    ledger = PostgresLedger(bare)
    ledger.register(WORKER)

    leases = [ledger.claim_next(WORKER) for _ in range(100)]

    assert len({lease.job.id for lease in leases if lease}) == 100
    assert ledger.claim_next(WORKER) is None
    assert len(ledger.history(leases[0].job.id)) == 2 if leases[0] else False
