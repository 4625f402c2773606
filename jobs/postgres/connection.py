"""Connections to the ledger, and the one gate where its driver's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobs.errors import BadSettings, SchemaMismatch, Unavailable

CONNECT_TIMEOUT: Final = 5  # seconds, for a new connection and for one of the pool
#: A server that is frozen answers nobody, and its kernel still acknowledges what we send: neither
#: the server's own limits nor TCP's ever end that wait.  Seconds; more than the server's limit
#: for a statement, so that one that is alive always speaks first.
ANSWER_TIMEOUT: Final = 20.0
#: What a connection from the pool has to show that it lives, before it is trusted with more.
PING_TIMEOUT: Final = 5.0
POLL: Final = 0.1  # seconds between two looks for a signal while an answer is waited for
#: A stopped process must not keep rows or the reconciler's lock; a dead network must be noticed.
SESSION: Final = " ".join(
    f"-c {name}={milliseconds}"
    for name, milliseconds in {
        "idle_in_transaction_session_timeout": 10_000,
        "statement_timeout": 15_000,
        "lock_timeout": 10_000,
    }.items()
)
TCP: Final = {
    "keepalives_idle": 5,  # seconds
    "keepalives_interval": 2,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}
#: SQLSTATE of a table, column or function that is not there
UNDEFINED: Final = frozenset({"42P01", "42703", "42883", "3F000"})


class BoundedConnection(psycopg.Connection[Any]):
    """Waits for each answer of the server for ``patience`` seconds at most (``None``: for ever)."""

    patience: float | None = ANSWER_TIMEOUT

    def wait(self, gen: PQGen[RV], interval: float = POLL, timeout: float | None = None) -> RV:
        """Raises ``OperationalError``, and is closed, when no answer came."""
        limit = self.patience if timeout is None else timeout
        try:
            return super().wait(gen, interval=interval, timeout=limit)
        except psycopg.OperationalError as error:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise  # the server spoke, or is gone
            # Whether it will carry the statement out is unknown: the connection is of no more use.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer in {limit:g} s") from error


def driver_url(url: str) -> URL:
    """SQLAlchemy's spelling of ``postgresql://…``.  Raises ``BadSettings``."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise BadSettings("PACKSHOT_DATABASE_URL: not of the form postgresql://…") from None
    if parsed.get_backend_name() != "postgresql":
        raise BadSettings("PACKSHOT_DATABASE_URL: not of the form postgresql://…")
    return parsed.set(drivername="postgresql+psycopg")


class Database:
    """A pool of connections.  Every error of the driver leaves here as ``Unavailable``."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        parsed = driver_url(url)
        self.where = f"{parsed.host}:{parsed.port or 5432}/{parsed.database}"
        self.engine = create_engine(
            parsed,
            isolation_level="AUTOCOMMIT",  # one statement is one move is one transaction
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=CONNECT_TIMEOUT,
            hide_parameters=True,  # instructions are the caller's business, not the log's
            pool_pre_ping=True,  # a restart of Postgres costs nobody an error
            connect_args={"connect_timeout": CONNECT_TIMEOUT, "options": SESSION, **TCP},
        )
        event.listen(self.engine, "do_connect", _bounded)
        event.listen(self.engine, "checkin", _to_be_pinged)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Each statement commits by itself."""
        with self._gate(), self.engine.connect() as connection:
            _set_patience(connection, ANSWER_TIMEOUT)
            yield connection

    @contextmanager
    def begin(self, *, patience: float | None = ANSWER_TIMEOUT) -> Iterator[Connection]:
        """All statements commit together, or none.

        ``patience``: seconds to wait for each answer; ``None`` where the server's own limit is
        lifted too.
        """
        with self._gate(), self.engine.connect() as connection:
            _set_patience(connection, patience)
            transaction = connection.execution_options(isolation_level="READ COMMITTED")
            with transaction.begin():
                yield transaction

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _gate(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise Unavailable(f"Postgres at {self.where}: all connections are busy") from error
        except ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) not in UNDEFINED:
                raise
            raise SchemaMismatch(
                f"Postgres at {self.where} lacks Packshot's tables: run 'packshot init'"
            ) from error
        except (OperationalError, InterfaceError, InternalError) as error:
            raise Unavailable(f"Postgres at {self.where}: {_first_line(error)}") from error


def _bounded(
    _dialect: object, _record: object, where: list[Any], how: dict[str, Any]
) -> BoundedConnection:
    return BoundedConnection.connect(*where, **how)


def _set_patience(connection: Connection, patience: float | None) -> None:
    connection.connection.dbapi_connection.patience = patience  # type: ignore[union-attr]


def _to_be_pinged(connection: BoundedConnection | None, _record: object) -> None:
    """Back in the pool: the next thing asked of it is the ping of whoever takes it out."""
    if connection is not None:
        connection.patience = PING_TIMEOUT


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
