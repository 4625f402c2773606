from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs.pictures import MAX_BYTES
from producer.api import limits
from producer.api.limits import MAX_BODY_BYTES
from tests.unit.producer.api.scenes import Downstream, photo

FORM = {"Content-Type": "multipart/form-data; boundary=x"}
HEAD = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


class Body:
    """A chunked body that counts what was taken of it."""

    def __init__(self, size: int, piece: int = 2**16) -> None:
        self.size, self.piece, self.taken = size, piece, 0

    def __iter__(self) -> Iterator[bytes]:
        yield HEAD
        while self.taken < self.size:
            self.taken += self.piece
            yield bytes(self.piece)


def test_three_pictures_of_the_largest_size_fit() -> None:
    assert 3 * MAX_BYTES < MAX_BODY_BYTES <= 3 * MAX_BYTES + 2**20


def test_a_longer_body_is_refused_before_it_is_read(api: Downstream) -> None:
    body = Body(2**20)
    headers = {**FORM, "Content-Length": str(MAX_BODY_BYTES + 1)}
    response = api.http.post("/v1/edits", content=body, headers=headers)

    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "too_large"
    assert "193 MiB" in response.json()["detail"]


@pytest.mark.parametrize("length", [{}, {"Content-Length": "many"}, {"Content-Length": "²"}])
def test_a_body_of_unknown_length_is_refused_as_it_grows(
    app: FastAPI, length: dict[str, str]
) -> None:
    small = TestClient(limits.BoundedBody(app, limit=2**20))
    headers = [(name.encode(), value.encode()) for name, value in {**FORM, **length}.items()]
    response = small.post("/v1/edits", content=Body(2**22), headers=headers)

    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "too_large"


def test_a_body_at_the_limit_is_taken(app: FastAPI) -> None:
    picture = photo()
    rest = b"\r\n--x--\r\n"
    body = HEAD + picture + rest
    exact = TestClient(limits.BoundedBody(app, limit=len(body)))
    response = exact.post("/v1/edits", content=body, headers=FORM)

    assert response.json()["detail"] == "instruction: empty; say what to change"


def test_a_flood_of_fields_is_refused(api: Downstream) -> None:
    flood: dict[str, Any] = {f"field{one}": "x" for one in range(40)}
    response = api.post(**flood)

    assert response.status_code == 400
    assert response.json()["code"] == "bad_request"
    assert "Too many fields" in response.json()["detail"]


def test_a_text_field_is_bounded(api: Downstream) -> None:
    response = api.post(instruction="x" * (2**20 + 1))

    assert response.status_code == 400
    assert "maximum size" in response.json()["detail"]
