"""What several suites need of the servers, and of time."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import Final

import psycopg
from psycopg import sql
from sqlalchemy import DateTime
from sqlalchemy.engine import make_url

from jobs.postgres.connection import Database
from jobs.postgres.tables import metadata, move

#: On a loaded machine too; nobody waits longer than it takes.
SOON: Final = timedelta(seconds=30)
#: In an order that foreign keys allow; attempts and moves go with their jobs.
TABLES: Final = ("job", "worker", "model", "input")


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database on this server, dropped at the end."""
    name = f"packshot_test_{secrets.token_hex(6)}"
    _execute(server_url, "CREATE DATABASE {}", name)
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server_url, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _execute(url: str, statement: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def empty(database: Database) -> None:
    """Forget all jobs, workers, models and inputs; the schema stays.

    Not by TRUNCATE, which writes new files and takes thirty times as long.
    """
    with database.begin() as connection:
        connection.exec_driver_sql("SET LOCAL packshot.retention = 'on'")  # the audit goes too
        for table in TABLES:
            connection.exec_driver_sql(f"DELETE FROM {table}")


def let_pass_in(database: Database, span: timedelta) -> None:
    """Move all that the ledger knows into the past, as if this much time had gone by.

    The audit stays as it is: it can only be added to.
    """
    with database.begin() as connection:
        for table in metadata.sorted_tables:
            moments = [column for column in table.c if isinstance(column.type, DateTime)]
            if table is not move:
                connection.execute(table.update().values({one: one - span for one in moments}))


def eventually(holds: Callable[[], bool], *, within: timedelta = SOON) -> None:
    """Return as soon as it holds; fail when it still does not after ``within``."""
    pause, deadline = threading.Event(), monotonic() + within.total_seconds()
    while not holds():
        assert monotonic() < deadline, f"not within {within}: {holds}"
        pause.wait(0.02)


@contextmanager
def refused_port() -> Iterator[int]:
    """A port of this machine where nobody listens, and nobody will."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield int(reserved.getsockname()[1])
