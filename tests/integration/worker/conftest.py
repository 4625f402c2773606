"""Servers with nothing wrong about them, to be made ill by each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.connect import connect
from tests.integration.worker.doctor_site import settings_of
from tests.services import fresh_database


@pytest.fixture(scope="session")
def ready(postgres_url: str, redis_url: str, s3_url: str) -> Iterator[dict[str, str]]:
    """Their settings."""
    with fresh_database(postgres_url) as database_url:
        settings = {"database_url": database_url, "redis_url": redis_url, "s3_url": s3_url}
        connected = connect(settings_of(settings))
        connected.init()
        connected.close()
        yield settings
