"""The doctor at real servers, each made ill in the way that a check is there for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
import redis
from psycopg import sql

from tests.integration.worker.doctor_site import (
    FINE,
    PROBLEM,
    SKIPPED,
    WARNING,
    rows_of,
    site_of,
    verdicts,
)
from tests.services import fresh_database, refused_port
from worker.doctor import services
from worker.doctor.findings import Site, Verdict, exit_code
from worker.doctor.table import look


def test_a_postgres_that_is_away_is_told_and_the_others_are_looked_at(
    ready: dict[str, str],
) -> None:
    with refused_port() as port:
        rows = rows_of({**ready, "database_url": f"postgresql://u:p@127.0.0.1:{port}/packshot"})

    found = verdicts(rows)
    assert found["Postgres"] is PROBLEM
    assert "refused" in rows["Postgres"].finding.found
    assert "PACKSHOT_DATABASE_URL" in rows["Postgres"].finding.to_do
    assert {found[name] for name in ("Postgres version", "schema", "Postgres clock")} == {SKIPPED}
    assert {found[name] for name in ("Redis", "S3", "disk")} == {FINE}
    assert exit_code([*rows.values()]) == 6


def test_a_postgres_that_takes_no_writes_is_told(ready: dict[str, str], postgres_url: str) -> None:
    with fresh_database(postgres_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            name = sql.Identifier(connection.info.dbname)
            read_only = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
            connection.execute(read_only.format(name))
        finding = rows_of({**ready, "database_url": url})["Postgres writes"].finding

    assert finding.verdict is PROBLEM
    assert "primary" in finding.to_do


def test_a_schema_that_is_behind_is_told_with_what_to_run(
    ready: dict[str, str], postgres_url: str
) -> None:
    with fresh_database(postgres_url) as empty:
        rows = rows_of({**ready, "database_url": empty})

    assert rows["schema"].finding.verdict is PROBLEM
    assert "packshot init" in rows["schema"].finding.to_do


def test_a_postgres_that_is_too_old_is_told(
    ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MIN_SERVER", 10_000_000)
    finding = rows_of(ready)["Postgres version"].finding

    assert finding.verdict is PROBLEM
    assert "or newer" in finding.to_do


@pytest.mark.parametrize(
    ("ahead", "verdict", "word"),
    [
        (timedelta(seconds=1), FINE, "within"),
        (timedelta(minutes=1), WARNING, "ahead of"),
        (timedelta(minutes=-1), WARNING, "behind"),
    ],
)
def test_a_clock_that_differs_from_postgres_is_told(
    ready: dict[str, str], ahead: timedelta, verdict: Verdict, word: str
) -> None:
    with site_of(ready) as site:
        skewed = Site(
            settings=site.settings, services=site.services, clock=lambda: datetime.now(UTC) + ahead
        )
        rows = {row.check: row.finding for row in look(skewed)}

    assert rows["Postgres clock"].verdict is verdict
    assert word in rows["Postgres clock"].found
    assert rows["S3 clock"].verdict is verdict


def test_a_clock_that_s3_refuses_is_a_problem(ready: dict[str, str]) -> None:
    with site_of(ready) as site:
        late = Site(
            settings=site.settings,
            services=site.services,
            clock=lambda: datetime.now(UTC) - timedelta(minutes=16),
        )
        rows = {row.check: row.finding for row in look(late)}

    assert rows["S3 clock"].verdict is PROBLEM
    assert "NTP" in rows["S3 clock"].to_do


@contextmanager
def configured(redis_url: str, name: str, value: str) -> Iterator[None]:
    with redis.Redis.from_url(redis_url) as client:
        before: Any = client.config_get(name)
        client.config_set(name, value)
        try:
            yield
        finally:
            client.config_set(name, before[name])


def test_a_redis_that_evicts_is_told(ready: dict[str, str]) -> None:
    with configured(ready["redis_url"], "maxmemory-policy", "allkeys-lru"):
        finding = rows_of(ready)["Redis eviction"].finding

    assert finding.verdict is PROBLEM
    assert "allkeys-lru" in finding.found
    assert "noeviction" in finding.to_do


def test_a_redis_that_is_full_is_told(ready: dict[str, str]) -> None:
    with configured(ready["redis_url"], "maxmemory", "1"):
        rows = rows_of(ready)

    assert rows["Redis"].finding.verdict is FINE
    assert rows["Redis writes"].finding.verdict is PROBLEM
    assert "maxmemory" in rows["Redis writes"].finding.found


def test_a_redis_without_persistence_is_a_warning(ready: dict[str, str]) -> None:
    with configured(ready["redis_url"], "appendonly", "no"):
        rows = rows_of(ready)

    assert rows["Redis persistence"].finding.verdict is WARNING
    assert exit_code([*rows.values()]) == 0


def test_a_redis_that_is_away_is_told(ready: dict[str, str]) -> None:
    with refused_port() as port:
        rows = rows_of({**ready, "redis_url": f"redis://:p@127.0.0.1:{port}/0"})

    found = verdicts(rows)
    assert found["Redis"] is PROBLEM
    left = ("Redis writes", "Redis eviction", "Redis persistence")
    assert {found[name] for name in left} == {SKIPPED}
    assert found["S3"] is FINE


def test_an_s3_that_is_away_is_told_and_the_others_are_looked_at(ready: dict[str, str]) -> None:
    with refused_port() as port:
        rows = rows_of({**ready, "s3_url": f"http://key:secret@127.0.0.1:{port}/packshot"})

    found = verdicts(rows)
    assert (found["S3"], found["S3 rights"], found["S3 clock"]) == (PROBLEM, SKIPPED, WARNING)
    assert {found[name] for name in ("Postgres", "Redis", "disk")} == {FINE}


def test_a_bucket_that_is_not_there_is_told_with_what_to_run(ready: dict[str, str]) -> None:
    finding = rows_of({**ready, "s3_url": f"{ready['s3_url']}-gone"})["S3"].finding

    assert finding.verdict is PROBLEM
    assert "packshot init" in finding.to_do


EMPTY = "<ListBucketResult><Name>packshot</Name></ListBucketResult>"


def error(code: str) -> str:
    return f"<Error><Code>{code}</Code><Message>no</Message></Error>"


@contextmanager
def refusing(status: int, listing: str) -> Iterator[str]:
    """An S3 that answers a request for a list so, and lets nobody write."""

    class Refusing(BaseHTTPRequestHandler):
        def _answer(self, status: int, said: str) -> None:
            body = said.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body) if self.command != "HEAD" else 0))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self._answer(403, "")

        def do_GET(self) -> None:
            self._answer(status, listing)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(403, error("AccessDenied"))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://key:secret@127.0.0.1:{server.server_port}/packshot"
    finally:
        server.shutdown()
        server.server_close()


def test_a_bucket_that_may_not_be_written_is_told_with_the_missing_right(
    ready: dict[str, str],
) -> None:
    with refusing(200, EMPTY) as url:
        rows = rows_of({**ready, "s3_url": url})

    finding = rows["S3 rights"].finding
    assert rows["S3"].finding.verdict is FINE
    assert finding.verdict is PROBLEM
    assert "may not write" in finding.found
    assert "AccessDenied" in finding.found
    assert "s3:PutObject" in finding.to_do


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("InvalidAccessKeyId", "correct the keys"),
        ("SignatureDoesNotMatch", "correct the keys"),
        ("RequestTimeTooSkewed", "clock"),
        ("AccessDenied", "s3:ListBucket"),
    ],
)
def test_keys_that_s3_refuses_are_told_with_the_reason(
    ready: dict[str, str], code: str, word: str
) -> None:
    with refusing(403, error(code)) as url:
        finding = rows_of({**ready, "s3_url": url})["S3"].finding

    assert finding.verdict is PROBLEM
    assert code in finding.found
    assert word in finding.found
