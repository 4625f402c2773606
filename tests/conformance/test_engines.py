from __future__ import annotations

import pytest

from tests.conformance.engine import EngineConformance
from worker.engine.base import Engine
from worker.engine.fake import FakeEngine


class TestFakeEngine(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        return FakeEngine()
