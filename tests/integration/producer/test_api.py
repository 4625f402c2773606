"""The API as a process, over real servers."""

from __future__ import annotations

import signal
import socket
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final
from uuid import UUID

import httpx
import pytest

from jobs.ids import new_job_id
from jobs.ledger import JobFilter
from jobs.model import (
    JobId,
    OutputFormat,
    Result,
    output_key,
)
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.migrate import migrate
from jobs.s3 import S3Store
from producer.api.limits import MAX_BODY_BYTES
from tests.integration.producer.serving import WORKER, Served, command, photo, serving
from tests.services import fresh_database


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends at the end of the test what outlives a block of it."""
    with ExitStack() as stack:
        yield stack


def test_an_edit_is_accepted_asked_about_and_cancelled(api: Served) -> None:
    accepted = api.submit(key="k")
    path = accepted.headers["location"]
    asked = api.http.get(path)
    unchanged = api.http.get(path, headers={"If-None-Match": asked.headers["etag"]})
    again = api.submit(key="k")
    other = api.submit("make it blue", key="k")
    cancelled = api.http.post(f"{path}/cancel")

    assert (accepted.status_code, asked.status_code, unchanged.status_code) == (202, 200, 304)
    assert asked.json()["state"] == "queued"
    assert (again.status_code, again.json()["id"]) == (202, accepted.json()["id"])
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")


def test_the_link_leads_to_the_picture(api: Served, ledger: PostgresLedger, s3_url: str) -> None:
    job_id = JobId(UUID(api.submit().json()["id"]))
    lease = ledger.claim(job_id, WORKER)
    assert lease is not None
    key, picture = output_key(lease), photo((80, 60))
    S3Store.from_url(s3_url).put(key, picture, media_type="image/png")
    result = Result(
        key=key, sha256="a" * 64, bytes=len(picture), media_type="image/png", width=80, height=60
    )
    ledger.complete(lease, result, timings={})

    redirected = api.http.get(f"/v1/edits/{job_id}/result", follow_redirects=True)
    linked = httpx.get(api.http.get(f"/v1/edits/{job_id}").json()["result"]["url"])

    assert redirected.content == linked.content == picture
    assert f"{job_id}.{OutputFormat.PNG}" in linked.headers["content-disposition"]


def test_pages_are_listed_by_batch(api: Served) -> None:
    for one in range(3):
        api.http.post(
            "/v1/edits",
            files={"image": ("mug.png", photo())},
            data={"instruction": f"edit {one}", "batch": "杯"},
        )
    first = api.http.get("/v1/edits", params={"batch": "杯", "limit": 2}).json()
    second = api.http.get(first["next"]).json()

    assert [one["instruction"] for one in first["edits"]] == ["edit 2", "edit 1"]
    assert [one["instruction"] for one in second["edits"]] == ["edit 0"]
    assert second["next"] is None


def bomb() -> bytes:
    """A small file that declares a picture of 30,000 × 30,000 pixels."""
    data = bytearray(photo())
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def test_bad_pictures_are_refused_by_name_and_limit(api: Served, ledger: PostgresLedger) -> None:
    good = photo()
    answers = {
        "no image": api.http.post("/v1/edits", files={"instruction": (None, "make it red")}),
        "cut.jpg": api.post(image=("cut.jpg", photo(picture_format="JPEG")[:-200])),
        "bomb.png": api.post(image=("bomb.png", bomb())),
        "tiny.png": api.post(image=("tiny.png", photo((1, 1)))),
        "wide.png": api.post(image=("wide.png", photo((20_000, 10)))),
        "fourth.png": api.http.post(
            "/v1/edits",
            files=[("image", (f"{one}.png", good)) for one in ("1", "2", "3", "fourth")],
            data={"instruction": "make it red"},
        ),
    }
    details = {name: answer.json()["detail"] for name, answer in answers.items()}
    details["no image"] += "no image"

    assert {answer.status_code for answer in answers.values()} == {422}
    assert [name for name, detail in details.items() if name not in detail] == []
    assert "million pixels" in details["bomb.png"]
    assert "16 to 16,384" in details["tiny.png"]
    assert "1 to 3 pictures, got 4" in details["fourth.png"]
    assert ledger.list(JobFilter()) == []


def test_bad_instructions_are_refused_with_the_limit(api: Served) -> None:
    empty, long = api.submit(" "), api.submit("x" * 100_000)

    assert (empty.status_code, long.status_code) == (422, 422)
    assert empty.json()["detail"] == "instruction: empty; say what to change"
    assert long.json()["detail"] == "instruction: at most 2000 characters, got 100000"


def test_too_long_a_body_is_refused_while_the_client_still_wants_to_send(api: Served) -> None:
    url = api.http.base_url
    head = (
        f"POST /v1/edits HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65_536).decode()

    assert answer.startswith("HTTP/1.1 413 ")
    assert "application/problem+json" in answer


def test_a_ledger_that_goes_away_is_a_503(
    services: dict[str, str], postgres_url: str, stack: ExitStack
) -> None:
    with fresh_database(postgres_url) as url:
        database = Database(url)
        migrate(database)
        database.close()
        api = stack.enter_context(serving({**services, "PACKSHOT_DATABASE_URL": url}))
        ready = api.http.get("/readyz")
    away = [
        api.http.get("/readyz"),
        api.http.get(f"/v1/edits/{new_job_id()}"),
        api.http.get("/v1/edits"),
        api.submit(),
    ]
    live = api.http.get("/livez")

    assert ready.status_code == live.status_code == 200
    assert {(one.status_code, one.json()["code"]) for one in away} == {(503, "unavailable")}
    assert all("Postgres at" in one.json()["detail"] for one in away)
    assert all(int(one.headers["retry-after"]) > 0 for one in away)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(everything: dict[str, str], number: signal.Signals) -> None:
    with serving(everything) as api:
        api.http.get("/livez")  # and the connection stays open
        api.process.send_signal(number)
        out, err = api.process.communicate(timeout=15)

    assert api.process.returncode == 0
    assert "api_ended" in out
    assert err == ""


CLOSED: Final = "postgresql://packshot:pw@127.0.0.1:1/packshot"


@pytest.mark.parametrize(
    ("database_url_given", "code", "words"),
    [(CLOSED, 6, ("Postgres at 127.0.0.1:1",)), ("", 3, ("PACKSHOT_DATABASE_URL",))],
)
def test_what_keeps_it_from_starting_is_one_line(
    services: dict[str, str], database_url_given: str, code: int, words: tuple[str, ...]
) -> None:
    named = {"PACKSHOT_DATABASE_URL": database_url_given} if database_url_given else {}
    process = command({**services, **named}, "--port", "0")
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out) == (code, "")
    assert len(err.splitlines()) == 1
    assert [word for word in words if word not in err] == []


def test_a_taken_port_is_one_line(everything: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = command(everything, "--port", str(port))
        _, err = process.communicate(timeout=30)

    assert process.returncode == 3
    assert len(err.splitlines()) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in err
