from __future__ import annotations

import pytest

from tests.unit.producer.shop import WORKER, Shop


@pytest.fixture
def shop() -> Shop:
    """A worker has offered the default model; nothing is submitted."""
    shop = Shop()
    shop.ledger.register(WORKER)
    return shop
