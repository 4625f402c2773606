from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs.errors import Unavailable
from jobs.model import Job, JobId
from jobs.testing import MemoryArtifacts, MemoryLedger, RecordingDispatcher
from producer.api import app as module
from producer.api.app import create_app
from producer.client import Client
from tests.unit.producer.api.scenes import Downstream


class Faulty(MemoryLedger):
    """A ledger that answers only after ``fault`` has had its way."""

    def __init__(self, fault: Callable[[], object]) -> None:
        super().__init__()
        self.fault = fault

    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        self.fault()
        return super().get_many(job_ids)


def over(ledger: MemoryLedger) -> FastAPI:
    return create_app(
        Client(ledger=ledger, artifacts=MemoryArtifacts(), dispatcher=RecordingDispatcher())
    )


def away() -> None:
    raise Unavailable("Postgres at db:5432/packshot: connection refused")


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """A ledger that never answers, while the test lasts."""
    monkeypatch.setattr(module, "PROBE_TIMEOUT", 0.05)
    thaw = threading.Event()
    yield Faulty(thaw.wait)
    thaw.set()


def test_live_and_ready(api: Downstream) -> None:
    assert api.get("/livez").json() == {"status": "live"}
    assert api.get("/readyz").json() == {"status": "ready"}


def test_a_ledger_that_is_away_is_named() -> None:
    http = TestClient(over(Faulty(away)))
    response = http.get("/readyz")

    assert response.status_code == 503
    assert response.json()["code"] == "unavailable"
    assert "Postgres at db:5432" in response.json()["detail"]
    assert http.get("/livez").status_code == 200


def test_a_ledger_that_hangs_is_not_waited_for(frozen: Faulty) -> None:
    http = TestClient(over(frozen))
    probes = [http.get("/readyz") for _ in range(5)]

    assert {one.status_code for one in probes} == {503}
    assert "has not answered" in probes[-1].json()["detail"]
    assert http.get("/livez").status_code == 200
