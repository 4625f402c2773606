"""A pair of keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from envpack.pack.sign import SecretKey, make_key


@pytest.fixture
def key(tmp_path: Path) -> SecretKey:
    return make_key(tmp_path / "secret.key", tmp_path / "public.pub")
