from __future__ import annotations

from uuid import UUID

import pytest

from jobs.ids import new_job_id
from jobs.model import JobId
from jobs.testing import MemoryLedger
from tests.unit.producer.api.scenes import Downstream, Hand


@pytest.fixture
def dead(api: Downstream, hand: Hand) -> str:
    job_id = api.submit()
    hand.fail(job_id)
    return job_id


def test_a_dead_letter_is_replayed_as_a_new_job(
    api: Downstream, memory: MemoryLedger, dead: str
) -> None:
    response = api.http.post(f"/v1/edits/{dead}/replay")
    body = response.json()

    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/edits/{body['id']}"
    assert (body["replay_of"], body["state"]) == (dead, "queued")
    assert memory.history(JobId(UUID(body["id"])))[0].who == "api"


def test_replaying_twice_is_one_job(api: Downstream, hand: Hand, dead: str) -> None:
    first = api.http.post(f"/v1/edits/{dead}/replay").json()
    hand.complete(first["id"])
    second = api.http.post(f"/v1/edits/{dead}/replay")

    assert second.status_code == 200
    assert (second.json()["id"], second.json()["state"]) == (first["id"], "succeeded")


def test_what_did_not_fail_is_a_conflict(api: Downstream) -> None:
    response = api.http.post(f"/v1/edits/{api.submit()}/replay")

    assert response.status_code == 409
    assert response.json()["code"] == "not_replayable"


def test_an_unknown_job_is_not_found(api: Downstream) -> None:
    assert api.http.post(f"/v1/edits/{new_job_id()}/replay").status_code == 404


def test_a_job_says_where_it_is_replayed(api: Downstream, dead: str) -> None:
    links = api.get(f"/v1/edits/{dead}").json()["links"]

    assert links["replay"] == f"/v1/edits/{dead}/replay"
