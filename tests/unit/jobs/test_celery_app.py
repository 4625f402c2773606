"""The Celery app: what it must not take from its surroundings."""

from __future__ import annotations

import pytest

from jobs.celery_dispatch import make_app


@pytest.mark.parametrize(
    "variable", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"]
)
def test_messages_go_to_our_redis_whatever_celery_is_told(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "redis://another:6379/0")
    app = make_app("redis://ours:6379/0")

    for connect in (app.connection, app.connection_for_read, app.connection_for_write):
        assert connect().hostname == "ours"
    with app.producer_pool.acquire(block=False) as producer:
        assert vars(producer.connection)["hostname"] == "ours"
    assert app.connection("redis://third:6379/0").hostname == "third"
