"""The dispatchers there are, each against the whole suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.celery_dispatch import CeleryDispatcher
from jobs.testing import RecordingDispatcher
from tests.conformance.dispatchers import DispatcherConformance
from tests.services import refused_port


class TestRecordingDispatcher(DispatcherConformance):
    @pytest.fixture
    def dispatcher(self) -> RecordingDispatcher:
        return RecordingDispatcher()

    @pytest.fixture
    def away(self) -> RecordingDispatcher:
        away = RecordingDispatcher()
        away.away = True
        return away


class TestCeleryDispatcher(DispatcherConformance):
    @pytest.fixture
    def dispatcher(self, redis_url: str) -> Iterator[CeleryDispatcher]:
        dispatcher = CeleryDispatcher(redis_url)
        yield dispatcher
        dispatcher.close()

    @pytest.fixture
    def away(self) -> Iterator[CeleryDispatcher]:
        with refused_port() as port:
            away = CeleryDispatcher(f"redis://127.0.0.1:{port}/0")
            yield away
            away.close()
