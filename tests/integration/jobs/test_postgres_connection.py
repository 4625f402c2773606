"""The gate: what the driver's errors become, and what a lost connection costs."""

from __future__ import annotations

import inspect
import socket
import traceback
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from jobs.errors import BadSettings, Unavailable
from jobs.postgres.connection import (
    ANSWER_TIMEOUT,
    PING_TIMEOUT,
    RESTED,
    RETURNED,
    BoundedConnection,
    Database,
    driver_url,
)
from jobs.postgres.ledger import PostgresLedger
from tests.conformance.scenes import UNKNOWN, WORKER, submitted

DRIVER_ERRORS = sorted(
    (
        one
        for _, one in inspect.getmembers(sqlalchemy.exc, inspect.isclass)
        if issubclass(one, DBAPIError)
    ),
    key=lambda one: one.__name__,
)
#: The program is wrong, not the server away: these are to be seen as they are.
PROGRAMMERS_ERRORS = {
    "DBAPIError",  # the base, never raised as such
    "DatabaseError",  # same, and what a trigger of ours may raise without a class
    "DataError",
    "IntegrityError",
    "NotSupportedError",
    "ProgrammingError",  # but for missing tables: test_migrate.py
}


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address that is taken, but where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.parametrize("error", DRIVER_ERRORS)
def test_every_error_of_the_driver_is_mapped_or_the_programmers(
    database: Database, error: type[DBAPIError]
) -> None:
    expected = error if error.__name__ in PROGRAMMERS_ERRORS else Unavailable

    with pytest.raises(expected), database.connect():
        raise error("SELECT 1", None, Exception("what the driver said\nand more"))


def test_an_error_says_where_and_why_in_one_line(database: Database) -> None:
    with pytest.raises(Unavailable) as caught, database.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 1; SELECT pg_sleep(10)"))

    assert str(caught.value) == (
        f"Postgres at {database.where}: canceling statement due to statement timeout"
    )


def test_a_missing_privilege_says_what_to_do(ledger: PostgresLedger) -> None:
    denied = r"permission denied for table job for the user of PACKSHOT_DATABASE_URL: grant it"

    stranger = "CREATE ROLE packshot_stranger; SET LOCAL ROLE packshot_stranger"  # rolled back

    with pytest.raises(Unavailable, match=denied), ledger.database.begin() as connection:
        connection.execute(text(f"{stranger}; SELECT id FROM job"))


def test_nobody_listening_is_unavailable(nowhere: str) -> None:
    database = Database(f"postgresql://packshot:s3cret@{nowhere}/packshot")
    ledger = PostgresLedger(database)

    with pytest.raises(Unavailable, match=nowhere) as caught:
        ledger.get(UNKNOWN)

    assert "refused" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_database_that_is_not_there_is_unavailable(database_url: str) -> None:
    database = Database(f"{database_url}_gone")

    with pytest.raises(Unavailable, match="does not exist"):
        PostgresLedger(database).get(UNKNOWN)


def test_a_wrong_password_is_unavailable_and_not_shown(database_url: str) -> None:
    right = driver_url(database_url)
    wrong = right.set(password="wr0ng").render_as_string(hide_password=False)
    database = Database(wrong)

    with pytest.raises(Unavailable) as caught:
        PostgresLedger(database).get(UNKNOWN)

    assert f"{right.host}:{right.port}" in str(caught.value)
    assert "wr0ng" not in "".join(traceback.format_exception(caught.value))


def test_connections_that_ended_cost_the_next_call_nothing(
    ledger: PostgresLedger, postgres_url: str
) -> None:
    ledger.register(WORKER)
    job = submitted(ledger)
    admin = Database(postgres_url)
    with admin.connect() as connection:
        ended = connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name"
            ),
            {"name": ledger.database.engine.url.database},
        ).scalars()
        assert [*ended]
    admin.close()

    assert ledger.get(job.id) == job


def test_a_server_that_does_not_answer_is_unavailable_and_its_connection_thrown_away(
    database_url: str,
) -> None:
    database = Database(database_url, pool_size=1)
    with (
        pytest.raises(Unavailable, match=r"no answer in 0\.2 s"),
        database.begin(patience=0.2) as connection,
    ):
        connection.execute(text("SELECT pg_sleep(60)"))
    database.close()

    alone = BoundedConnection.connect(database_url)
    alone.patience = 0.2
    with pytest.raises(psycopg.OperationalError, match=r"no answer in 0\.2 s"):
        alone.execute("SELECT pg_sleep(60)")
    assert alone.closed  # or whoever has it next, the pool's clean-up first of all, would wait too


def test_a_statement_may_take_longer_than_the_ping_before_it(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    with database.connect():
        pass  # now it comes from the pool

    with database.connect() as connection:
        dbapi: object = connection.connection.dbapi_connection
        assert isinstance(dbapi, BoundedConnection)
        assert dbapi.patience == ANSWER_TIMEOUT
    database.close()


def test_a_connection_that_ended_a_moment_ago_is_not_given_out(database_url: str) -> None:
    """It is not pinged, so soon after its use."""
    database = Database(database_url, pool_size=1)
    with database.connect() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    with psycopg.connect(database_url, autocommit=True) as another:
        another.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    with database.connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != pid
    database.close()


def test_a_connection_that_rested_is_pinged_with_less_patience(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    pings: list[float | None] = []
    dialect = database.engine.dialect
    asked = dialect.do_ping

    def ping(connection: Any) -> bool:  # noqa: ANN401 - the driver's
        pings.append(connection.patience)
        return asked(connection)

    dialect.do_ping = ping  # type: ignore[method-assign, assignment]
    with database.connect() as connection:
        record = connection.connection._connection_record  # noqa: SLF001 - to let it rest
    assert record is not None
    record.info[RETURNED] -= RESTED + 1

    with database.connect():
        pass
    with database.connect():
        pass  # used a moment ago

    assert pings == [PING_TIMEOUT]
    database.close()


def test_a_server_that_lives_speaks_before_we_give_up_on_it(database: Database) -> None:
    with database.connect() as connection:
        limit = connection.execute(
            text("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'")
        ).scalar_one()

    assert int(limit) / 1_000 < ANSWER_TIMEOUT


def test_a_pool_that_is_all_in_use_is_unavailable(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    database.engine.pool._timeout = 0.1  # type: ignore[attr-defined]  # noqa: SLF001 - not 5 s

    with (
        database.connect(),
        database.connect(),
        pytest.raises(Unavailable, match="all connections are busy"),
        database.connect(),
    ):
        pass  # pragma: no cover - never entered

    database.close()


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("idle_in_transaction_session_timeout", "10s"),
        ("statement_timeout", "15s"),
        ("lock_timeout", "10s"),
    ],
)
def test_a_process_that_hangs_keeps_nothing_for_long(
    database: Database, limit: str, value: str
) -> None:
    with database.connect() as connection:
        assert connection.execute(text(f"SHOW {limit}")).scalar_one() == value


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://h/db", "postgresql://h:port/db"])
def test_an_address_of_another_form_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadSettings, match="PACKSHOT_DATABASE_URL") as caught:
        Database(url)

    assert caught.value.__cause__ is None
