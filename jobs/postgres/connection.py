"""Connections to the ledger, and the one gate where its driver's errors become ours."""

from __future__ import annotations

import select
import time
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
    InvalidatePoolError,
    InvalidRequestError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from jobs.errors import BadSettings, SchemaMismatch, Unavailable

CONNECT_TIMEOUT: Final = 5  # seconds, for a new connection and for one of the pool
#: A server that is frozen answers nobody, and its kernel still acknowledges what we send: neither
#: the server's own limits nor TCP's ever end that wait.  Seconds; more than the server's limit
#: for a statement, so that one that is alive always speaks first.
ANSWER_TIMEOUT: Final = 20.0
#: What a connection from the pool has to show that it lives, before it is trusted with more.
PING_TIMEOUT: Final = 5.0
RESTED: Final = 0.1  #: seconds out of use after which a connection is pinged
RETURNED: Final = "packshot_returned"  #: of a connection's record: when it came back to the pool
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
DENIED: Final = "42501"  # SQLSTATE of a missing privilege


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
            connect_args={"connect_timeout": CONNECT_TIMEOUT, "options": SESSION, **TCP},
        )
        event.listen(self.engine, "do_connect", _bounded)
        event.listen(self.engine, "checkin", _note_the_time)
        event.listen(self.engine, "checkout", self._check)

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

    def _check(self, connection: BoundedConnection, record: ConnectionPoolEntry, _: object) -> None:
        """A restart of Postgres costs nobody an error: whoever is given a connection gets one that
        lives.  One that was used a moment ago is only asked whether the server has hung up."""
        connection.patience = PING_TIMEOUT
        now = time.monotonic()
        rested = now - record.info.get(RETURNED, now)  # a new one has answered just now
        try:
            if _has_spoken(connection):
                raise InvalidatePoolError
            if rested > RESTED:
                self.engine.dialect.do_ping(connection)  # type: ignore[arg-type]
        except psycopg.Error as error:
            raise InvalidatePoolError from error

    @contextmanager
    def _gate(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise Unavailable(f"Postgres at {self.where}: all connections are busy") from error
        except InvalidRequestError as error:
            if "connection is closed" not in str(error):
                raise
            # The server ended each of those that the pool tried.
            raise Unavailable(f"Postgres at {self.where} ends every connection") from error
        except ProgrammingError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state == DENIED:
                raise Unavailable(
                    f"Postgres at {self.where}: {_first_line(error)} for the user of"
                    " PACKSHOT_DATABASE_URL: grant it, or name the user who ran 'packshot init'"
                ) from error
            if state not in UNDEFINED:
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


def _note_the_time(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[RETURNED] = time.monotonic()


def _has_spoken(connection: BoundedConnection) -> bool:
    """Between two statements a server says nothing, unless it ends the connection."""
    listening = select.poll()
    listening.register(connection.pgconn.socket, select.POLLIN)
    return bool(listening.poll(0))


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
