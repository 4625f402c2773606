from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.engine import EngineConformance
from tests.engine.variants import TINY, load
from worker.engine.base import Engine

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine(random_folder: Path) -> Engine:
    return load(random_folder, TINY)


class TestDiffusersEngine(EngineConformance):
    """Of random weights: nothing is asked of the picture itself."""
