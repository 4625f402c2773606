"""Brings the ledger's schema up to date, once, under a lock."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from jobs.errors import SchemaMismatch
from jobs.postgres.connection import Database

MIGRATION_LOCK: Final = 0x7061636B  # "pack": one migration at a time
#: Programs that know this schema or a newer one may use the present one.  A migration that only
#: adds leaves it; one that takes away what they use raises it.  So a release can stand beside the
#: next one, and come back after it.
USABLE_FROM: Final = "0004"
NOTE: Final = "usable by programs that know schema "  # and its number: the version table's comment
MIN_SERVER: Final = 150_000  # PostgreSQL 15, as server_version_num counts


def migrate(database: Database, *, to: str = "head") -> str:
    """Apply what is missing, in order and up to ``to``; return the schema's revision.

    Safe to run anywhere and any number of times: the second of two waits for the first.
    """
    with database.begin(patience=None) as connection:
        _check_server(connection)
        # Whoever migrates a big ledger takes long, and the second waits as long; but no table's
        # lock is waited for longer than by others (they would all queue behind us).
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        connection.exec_driver_sql("SET LOCAL lock_timeout TO DEFAULT")
        if not _is_ahead(connection, database.where):
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, to)
            _note(connection, f"{NOTE}{USABLE_FROM}")
        return _current(connection) or ""


def check_schema(database: Database) -> None:
    """Raise ``SchemaMismatch`` unless the ledger is at the revision this program knows, or at a
    newer one that says it may be used."""
    wanted = _scripts().get_current_head()
    with database.connect() as connection:
        if _is_ahead(connection, database.where):
            return
        found = _current(connection)
    if found != wanted:
        raise SchemaMismatch(
            f"Postgres at {database.where} has schema {found or 'none'}, this program needs"
            f" {wanted}: run 'packshot init' of this version"
        )


def _is_ahead(connection: Connection, where: str) -> bool:
    """Of a newer program, and of use to this one.  Raises ``SchemaMismatch`` if it is of none."""
    found, scripts = _current(connection), _scripts()
    if found is None or found in {one.revision for one in scripts.walk_revisions()}:
        return False
    told = _noted(connection)
    if told.startswith(NOTE) and told.removeprefix(NOTE) <= (scripts.get_current_head() or ""):
        return True
    raise SchemaMismatch(
        f"Postgres at {where} has schema {found}, which this program does not know:"
        " it is older than the ledger; run the newer version here"
    )


def _note(connection: Connection, note: str) -> None:
    """Only the table's owner may; without a note an older program is refused, and nothing else."""
    owns = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE relname = 'packshot_version'"
    if _noted(connection) != note and connection.exec_driver_sql(owns).scalar_one():
        connection.exec_driver_sql(f"COMMENT ON TABLE packshot_version IS '{note}'")


def _noted(connection: Connection) -> str:
    question = "SELECT obj_description('packshot_version'::regclass, 'pg_class')"
    return connection.exec_driver_sql(question).scalar_one() or ""


@functools.cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _current(connection: Connection) -> str | None:
    options = {"version_table": "packshot_version"}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _check_server(connection: Connection) -> None:
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    if version < MIN_SERVER:
        raise SchemaMismatch(f"PostgreSQL {version // 10_000}: Packshot needs 15 or newer")
