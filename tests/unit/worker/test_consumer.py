"""The loop around Celery's consumer."""

from __future__ import annotations

import pytest
from celery.exceptions import WorkerTerminate
from celery.worker.consumer import Consumer as CelerysConsumer

from jobs.celery_dispatch import make_app
from jobs.outage import Outage
from tests.services import eventually
from tests.unit.worker.bench import Bench
from tests.unit.worker.test_intake import intake_of
from worker.intake import consumer
from worker.intake.consumer import Loop


def test_a_loop_that_celery_gives_up_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the process has no file left to open."""
    begun: list[object] = []

    def start(itself: object) -> None:
        begun.append(itself)
        raise WorkerTerminate(1)

    monkeypatch.setattr(CelerysConsumer, "start", start)
    monkeypatch.setattr(consumer, "PAUSE", 0.01)
    app = make_app("redis://127.0.0.1:1/0")
    loop = Loop(app, "fake@host", intake_of(Bench()), Outage("consumer"))

    loop.start()
    try:
        eventually(lambda: len(begun) > 1)
    finally:
        loop.abandon()
