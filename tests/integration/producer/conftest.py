"""An API over real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.s3 import S3Store
from tests.integration.producer.serving import WORKER, Served, serving


@pytest.fixture(scope="module")
def services(redis_url: str, s3_url: str) -> dict[str, str]:
    S3Store.from_url(s3_url).make_bucket()
    return {"PACKSHOT_REDIS_URL": redis_url, "PACKSHOT_S3_URL": s3_url}


@pytest.fixture(scope="module")
def everything(services: dict[str, str], database_url: str, database: Database) -> dict[str, str]:
    del database  # migrated
    return {**services, "PACKSHOT_DATABASE_URL": database_url}


@pytest.fixture(scope="module")
def served(everything: dict[str, str]) -> Iterator[Served]:
    with serving(everything) as served:
        yield served


@pytest.fixture
def api(served: Served, ledger: PostgresLedger) -> Served:
    """With a model on offer and no jobs yet."""
    ledger.register(WORKER)
    return served
