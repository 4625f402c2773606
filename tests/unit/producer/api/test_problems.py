from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs import errors
from jobs.errors import JobsError, SchemaMismatch, Unavailable
from tests.unit.producer.api.scenes import Downstream


def tree(root: type[JobsError]) -> Iterator[type[JobsError]]:
    yield root
    for branch in root.__subclasses__():
        yield from tree(branch)


#: What only a worker or an operator meets: if a caller meets it, the fault is ours.
OURS: Final = {
    errors.JobsError,
    errors.BadSettings,
    errors.LeaseLost,
    *tree(errors.AttemptFailed),
}
CALLERS: Final = [one for one in tree(JobsError) if one not in OURS]


def raising(app: FastAPI, error: Exception) -> TestClient:
    """The API, with one more route, that fails."""

    @app.get("/fail")
    def fail() -> None:
        raise error

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("kind", CALLERS)
def test_every_error_a_caller_can_cause_has_its_status_and_says_itself(
    app: FastAPI, kind: type[JobsError]
) -> None:
    response = raising(app, kind("which one and why")).get("/fail")
    problem = response.json()

    assert response.status_code == problem["status"] == kind.http_status != 500
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["code"] == kind.code != "internal"
    assert problem["type"] == f"urn:packshot:problem:{kind.code}"
    assert problem["detail"] == "which one and why"
    assert problem["title"]


@pytest.mark.parametrize("kind", [*OURS, ZeroDivisionError])
def test_a_fault_of_ours_is_logged_and_told_without_internals(
    app: FastAPI, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    response = raising(app, kind("password in line 7")).get("/fail")
    (record,) = [one for one in caplog.records if one.message == "request_crashed"]

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "internal"
    assert "password" not in response.text
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


@pytest.mark.parametrize("kind", [Unavailable, SchemaMismatch])
def test_what_is_away_may_be_back_soon(app: FastAPI, kind: type[JobsError]) -> None:
    response = raising(app, kind("Postgres at db:5432/packshot")).get("/fail")

    assert int(response.headers["retry-after"]) > 0


def test_the_codes_of_what_a_caller_meets_tell_apart() -> None:
    codes = [one.code for one in CALLERS]

    assert len(set(codes)) == len(codes)


def test_a_path_that_is_none_is_a_problem(api: Downstream) -> None:
    response = api.get("/v2/edits")

    assert response.status_code == 404
    assert response.json()["code"] == "not_found"
    assert "GET /v2/edits" in response.json()["detail"]


def test_a_method_that_is_none_is_a_problem(api: Downstream) -> None:
    response = api.http.delete("/v1/edits")

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"
    assert response.headers["allow"] in {"POST", "GET"}
