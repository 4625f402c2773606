"""The API over a client on the fakes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs.testing import MemoryArtifacts, MemoryLedger, RecordingDispatcher
from producer.api.app import create_app
from producer.client import Client
from tests.unit.producer.api.scenes import WORKER, Downstream, Hand


@pytest.fixture
def memory() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.register(WORKER)
    return ledger


@pytest.fixture
def client(memory: MemoryLedger) -> Iterator[Client]:
    with Client(
        ledger=memory, artifacts=MemoryArtifacts(), dispatcher=RecordingDispatcher()
    ) as client:
        yield client


@pytest.fixture
def app(client: Client) -> FastAPI:
    return create_app(client)


@pytest.fixture
def http(app: FastAPI) -> TestClient:
    return TestClient(app, follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture
def api(http: TestClient) -> Downstream:
    return Downstream(http=http)


@pytest.fixture
def hand(memory: MemoryLedger) -> Hand:
    return Hand(ledger=memory)
