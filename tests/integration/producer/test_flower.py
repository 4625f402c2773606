"""Flower as a process, over real servers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx
import pytest
import redis

from jobs.celery_dispatch import CeleryDispatcher
from jobs.ids import new_job_id
from jobs.model import JobId, ServedModel, WorkerInfo
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from tests.services import eventually, refused_port

LOGIN: Final = ("staff", "se:cret=1")
#: Other programs' variables, which Celery's own command line would obey.
STRANGERS: Final = {"APP": "no.such.app", "BROKER_URL": "redis://127.0.0.1:1/0"}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A running Flower, and someone who may see it."""

    process: subprocess.Popen[str]
    http: httpx.Client

    def answers(self) -> bool:
        assert self.process.poll() is None
        try:
            return self.http.get("/healthcheck").status_code == HTTPStatus.OK
        except httpx.TransportError:
            return False

    def queues(self) -> dict[str, int]:
        """As the Broker page lists them, with their messages."""
        page = self.http.get("/broker").raise_for_status().text
        rows = re.findall(r"<tr id=[^>]*>\s*<td>([^<]+)</td>\s*<td[^>]*>(\d+)</td>", page)
        return {name: int(messages) for name, messages in rows}


def command(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - a child's, not settings
        if not name.startswith(("PACKSHOT_", "FLOWER_", "CELERY_"))
    }
    return subprocess.Popen(
        [sys.executable, "-m", "producer", "flower", *arguments],
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def showing(
    environment: Mapping[str, str], options: Sequence[str] = ("--log-json",)
) -> Iterator[Shown]:
    process = command(environment, "--port", "0", *options)
    try:
        assert process.stdout is not None
        start = json.loads(process.stdout.readline())
        assert start["event"] == "flower_starts"
        with httpx.Client(base_url=start["url"], auth=LOGIN, timeout=20) as http:
            shown = Shown(process=process, http=http)
            eventually(shown.answers)
            yield shown
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def environment(
    redis_url: str, s3_url: str, database_url: str, database: Database
) -> dict[str, str]:
    del database  # migrated
    return {
        **STRANGERS,
        "PACKSHOT_DATABASE_URL": database_url,
        "PACKSHOT_REDIS_URL": redis_url,
        "PACKSHOT_S3_URL": s3_url,
        "PACKSHOT_MODEL": "flower-model",
        "PACKSHOT_FLOWER_AUTH": f"other:pw,{':'.join(LOGIN)}",
    }


@pytest.fixture(scope="module")
def shown(environment: dict[str, str]) -> Iterator[Shown]:
    with showing(environment) as shown:
        yield shown


def offered(ledger: PostgresLedger, group: str) -> str:
    """The queue of a worker that has come; nobody answers for it."""
    model = ServedModel(
        name="flower-model", revision="r1", profile_group=group, profiles=("quality",)
    )
    worker = WorkerInfo(id=new_job_id(), holder="host/cpu:0/1", card="cpu:0", model=model)
    ledger.register(worker)
    return model.queue


@contextmanager
def messages(redis_url: str, queue: str, count: int) -> Iterator[None]:
    with closing(CeleryDispatcher(redis_url)) as dispatcher:
        dispatcher.dispatch(queue, [JobId(new_job_id()) for _ in range(count)])
        try:
            yield
        finally:
            redis.Redis.from_url(redis_url).delete(queue)


def test_it_shows_our_queues_before_any_worker_was_inspected(
    ledger: PostgresLedger, environment: dict[str, str], redis_url: str
) -> None:
    queue = offered(ledger, "first")
    with messages(redis_url, queue, 2), showing(environment) as shown:
        assert shown.queues() == {queue: 2}


def test_it_shows_the_queue_of_a_worker_that_comes_later(
    ledger: PostgresLedger, environment: dict[str, str]
) -> None:
    with showing(environment) as shown:
        assert shown.queues() == {"edit.flower-model.unserved": 0}

        queue = offered(ledger, "later")

        eventually(lambda: shown.queues() == {queue: 0})


def test_with_the_ledger_away_it_shows_what_it_can(environment: dict[str, str]) -> None:
    with refused_port() as port:
        away = f"postgresql://packshot:pw@127.0.0.1:{port}/packshot"
        with showing({**environment, "PACKSHOT_DATABASE_URL": away}) as shown:
            assert shown.queues() == {"edit.flower-model.unserved": 0}


@pytest.mark.parametrize("path", ["/", "/workers", "/broker", "/tasks", "/api/queues/length"])
def test_nobody_sees_it_without_the_password(shown: Shown, path: str) -> None:
    url = shown.http.base_url.join(path)

    assert httpx.get(url).status_code == HTTPStatus.UNAUTHORIZED
    assert httpx.get(url, auth=("staff", "wrong")).status_code == HTTPStatus.UNAUTHORIZED
    assert shown.http.get(path).status_code == HTTPStatus.OK


def test_it_shows_and_does_not_act(shown: Shown) -> None:
    answer = shown.http.post("/api/worker/shutdown/nobody")

    assert (answer.status_code, answer.text) == (HTTPStatus.FORBIDDEN, "Read only mode is enabled")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(environment: dict[str, str], number: signal.Signals) -> None:
    with showing({**environment, "PACKSHOT_LOG_JSON": "true"}, options=()) as shown:
        shown.process.send_signal(number)
        out, err = shown.process.communicate(timeout=30)

    assert shown.process.returncode == 0
    assert "flower_ended" in [json.loads(line)["event"] for line in out.splitlines()]
    assert "Traceback" not in out
    assert err == ""
