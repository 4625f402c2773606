"""What several suites need of the servers, and of time."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import Final

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from jobs.postgres.connection import Database

SOON: Final = timedelta(seconds=10)
#: Emptied before each test, with all that refers to them.
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
    """Forget all jobs, workers, models and inputs; the schema stays."""
    with database.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(TABLES)} CASCADE")


def eventually(holds: Callable[[], bool], *, within: timedelta = SOON) -> None:
    """Return as soon as it holds; fail when it still does not after ``within``."""
    pause, deadline = threading.Event(), monotonic() + within.total_seconds()
    while not holds():
        assert monotonic() < deadline, f"not within {within}: {holds}"
        pause.wait(0.02)
