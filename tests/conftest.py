"""What every test finds: servers and a terminal, whatever the machine is like.

``PACKSHOT_TEST_DATABASE_URL``, ``PACKSHOT_TEST_REDIS_URL`` and ``PACKSHOT_TEST_S3_URL`` name
servers that run already.  What is not named is started, once per session and on first use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, settings

from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.migrate import migrate
from standalone.servers import Servers
from tests.services import empty, fresh_database

pytest.register_assert_rewrite("tests.conformance")
# A machine that stands still for a moment proves nothing about the example that it was at.  What
# fails is printed as a line to put into the code, and kept in no folder of the checkout.
settings.register_profile(
    "packshot",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
    print_blob=True,
)
settings.load_profile("packshot")


@pytest.fixture(autouse=True, scope="session")
def _surroundings() -> Iterator[None]:
    """Help and tables are as wide as in the documentation, not as somebody's window is.

    No proxy stands before the servers of the tests, which are all on loopback.
    """
    own = os.environ  # noqa: TID251 - of the tests and of all that they start
    spared = [own.get("no_proxy") or own.get("NO_PROXY"), "127.0.0.1", "localhost"]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COLUMNS", "80")
        for name in ("no_proxy", "NO_PROXY"):
            environment.setenv(name, ",".join(filter(None, spared)))
        yield


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Postgres, Redis and S3 of this session's own."""
    servers = Servers(tmp_path_factory.mktemp("servers"))
    try:
        with servers:
            yield servers.environment()
    finally:
        servers.erase()


def service(request: pytest.FixtureRequest, setting: str) -> str:
    named = os.environ.get(f"PACKSHOT_TEST_{setting}")  # noqa: TID251 - the suite's own settings
    if named:
        return named
    return str(request.getfixturevalue("embedded")[f"PACKSHOT_{setting}"])


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A server, with whatever databases it holds: make your own (``fresh_database``)."""
    return service(request, "DATABASE_URL")


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> Iterator[str]:
    """A database of this session's own, so that suites never disturb each other."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    return service(request, "REDIS_URL")


@pytest.fixture(scope="session")
def s3_url(request: pytest.FixtureRequest) -> str:
    return service(request, "S3_URL")


@pytest.fixture(scope="session")
def database(database_url: str) -> Iterator[Database]:
    """The session's ledger database, migrated."""
    database = Database(database_url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def ledger(database: Database) -> PostgresLedger:
    """A ledger in Postgres that has forgotten the tests before."""
    empty(database)
    return PostgresLedger(database)
