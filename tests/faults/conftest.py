"""The system as processes, with servers of this suite's own: its tests pause and kill them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from standalone.servers import Servers
from tests.faults.scene import Scene, scene_on


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("fault-servers"))
    try:
        with servers:
            yield servers
    finally:
        servers.erase()


@pytest.fixture
def scene(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A fresh ledger, a client, and workers on demand."""
    with scene_on(servers, tmp_path_factory.mktemp("scene")) as scene:
        yield scene
