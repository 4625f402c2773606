"""``packshot flower``: what it refuses before it listens, and the queues that it shows."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from click.testing import Result

from jobs.celery_dispatch import make_app
from jobs.errors import Unavailable
from jobs.ids import new_job_id
from jobs.model import ServedModel
from jobs.testing import MemoryLedger
from producer.flower.queues import Queues
from producer.settings import FlowerSettings
from tests.services import refused_port
from tests.unit.producer.shop import WORKER, Shop

pytestmark = pytest.mark.usefixtures("logging_left_as_it_was")
NOBODY: Final = "unserved.queue"


@pytest.fixture(autouse=True)
def redis_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Nobody listens there: whatever is not refused before ends at Redis."""
    with refused_port() as port:
        for name, url in {
            "DATABASE_URL": f"postgresql://packshot:pw@127.0.0.1:{port}/packshot",
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "S3_URL": f"http://key:secret@127.0.0.1:{port}/packshot",
        }.items():
            monkeypatch.setenv(f"PACKSHOT_{name}", url)
        monkeypatch.delenv("PACKSHOT_FLOWER_AUTH", raising=False)
        yield port


def told(result: Result, code: int) -> str:
    """The one line that ended it."""
    assert result.exit_code == code, result.output
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


# ---- whom it lets in


@pytest.mark.parametrize("address", ["0.0.0.0", ""])
def test_who_lets_others_in_needs_a_password(shop: Shop, address: str) -> None:
    line = told(shop.run("flower", "--address", address, "--port", 0), 3)

    assert "PACKSHOT_FLOWER_AUTH is not set" in line
    assert f"--address {address}" in line


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_needs_none(shop: Shop, redis_port: int, address: str) -> None:
    line = told(shop.run("flower", "--address", address, "--port", 0), 6)

    assert f"Redis at 127.0.0.1:{redis_port}" in line


def test_with_a_password_others_may_come(
    shop: Shop, redis_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACKSHOT_FLOWER_AUTH", "staff:secret")

    line = told(shop.run("flower", "--address", "0.0.0.0", "--port", 0), 6)

    assert f"Redis at 127.0.0.1:{redis_port}" in line


@pytest.mark.parametrize("logins", ["", "staff", "staff:", ":secret", "a:b,", "a:b,c", "é:secret"])
def test_what_flower_could_not_read_as_logins_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, logins: str
) -> None:
    monkeypatch.setenv("PACKSHOT_FLOWER_AUTH", logins)

    line = told(shop.run("flower", "--port", 0), 3)

    assert "PACKSHOT_FLOWER_AUTH" in line
    assert "USER:PASSWORD" in line
    assert "secret" not in line


@pytest.mark.parametrize("logins", ["staff:secret", "staff:se:cret=", "a:b,c:d"])
def test_logins(monkeypatch: pytest.MonkeyPatch, logins: str) -> None:
    monkeypatch.setenv("PACKSHOT_FLOWER_AUTH", logins)

    settings = FlowerSettings.load()

    assert settings.flower_auth is not None
    assert settings.flower_auth.get_secret_value() == logins
    assert settings.redacted()["flower_auth"] == "***"


# ---- what it cannot do without


def test_a_taken_port_is_named(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = told(shop.run("flower", "--port", port), 3)

    where = f"--address, --port: cannot listen on 127.0.0.1:{port}"
    assert line.strip().endswith(f"{where}: Address already in use")


@pytest.mark.parametrize("address", ["no.such.host.invalid", "a..b", "192.0.2.1"])
def test_an_address_of_another_machine_is_named(shop: Shop, address: str) -> None:
    line = told(shop.run("flower", "--address", address, "--port", 0), 3)

    assert f"--address, --port: cannot listen on {address}:0: " in line


def test_its_extra_is_named_where_flower_is_missing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flower.command", None)
    monkeypatch.setitem(sys.modules, "flower", None)

    line = told(shop.run("flower"), 3)

    assert line.endswith(": pip install 'packshot[flower]'\n")


def test_settings_that_are_missing_are_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACKSHOT_REDIS_URL")

    assert "PACKSHOT_REDIS_URL is not set" in told(shop.run("flower"), 3)


# ---- the queues that Flower lists


class FarLedger(MemoryLedger):
    is_away = False

    def models(self) -> list[ServedModel]:
        if self.is_away:
            raise Unavailable("away")
        return [*super().models()]


def offer(ledger: MemoryLedger, group: str) -> None:
    model = replace(WORKER.model, profile_group=group)
    ledger.register(replace(WORKER, id=new_job_id(), model=model))


@pytest.fixture
def ledger() -> FarLedger:
    return FarLedger()


@pytest.fixture
def conf() -> Any:  # noqa: ANN401 - Celery's
    return make_app("redis://127.0.0.1:1/0").conf


def listed(conf: Any) -> set[str]:  # noqa: ANN401 - Celery's
    """As Flower does before it has inspected a worker."""
    return {conf.task_default_queue} | {queue.name for queue in conf.task_queues}


def test_without_an_offer_it_lists_where_jobs_wait(ledger: FarLedger, conf: Any) -> None:  # noqa: ANN401
    with Queues(conf, ledger, otherwise=NOBODY):
        assert listed(conf) == {NOBODY}


def test_it_lists_what_was_offered_and_nothing_of_celery_s_own(
    ledger: FarLedger,
    conf: Any,  # noqa: ANN401
) -> None:
    offer(ledger, "default")
    offer(ledger, "fast")
    with Queues(conf, ledger, otherwise=NOBODY):
        assert listed(conf) == {f"edit.{WORKER.model.name}.{one}" for one in ("default", "fast")}


def test_a_ledger_that_goes_away_takes_no_queue_along(
    ledger: FarLedger,
    conf: Any,  # noqa: ANN401
    caplog: pytest.LogCaptureFixture,
) -> None:
    offer(ledger, "default")
    queues = Queues(conf, ledger, otherwise=NOBODY)
    queues.look()
    before = listed(conf)
    ledger.is_away = True
    queues.look()
    queues.look()

    assert listed(conf) == before != {NOBODY}
    assert [record.message for record in caplog.records] == ["ledger_away"]
