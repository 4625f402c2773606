"""A depot, a host and what unpacks from one onto the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from envpack.node.host import Host
from tests.envpack_depot import TestDepot


@pytest.fixture
def depot(tmp_path: Path) -> TestDepot:
    return TestDepot(tmp_path / "depot")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "root")
