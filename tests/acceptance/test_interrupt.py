from __future__ import annotations

from pathlib import Path

import pytest

from standalone.servers import Servers
from tests.acceptance.test_up import START, Up
from tests.services import eventually

pytestmark = pytest.mark.acceptance


def test_ctrl_c_ends_it_although_no_worker_is_ready(tmp_path: Path) -> None:
    up = Up(tmp_path, "--engine", "fake")
    try:
        eventually(up.env_file.exists, within=START)  # the servers run, the workers come next

        assert up.stop() == 0
        assert "Packshot is up" not in up.log.read_text()
        assert "Packshot has stopped" in up.log.read_text()
    finally:
        up.end()
        Servers(tmp_path / "data").erase()
