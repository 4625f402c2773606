from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.unit.producer.shop import WORKER, Shop


@pytest.fixture
def shop() -> Shop:
    """A worker has offered the default model; nothing is submitted."""
    shop = Shop()
    shop.ledger.register(WORKER)
    return shop


@pytest.fixture
def logging_left_as_it_was() -> Iterator[None]:
    """For commands that set it up."""
    root = logging.getLogger()
    handlers, level = [*root.handlers], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def worked(shop: Shop) -> Shop:
    """A worker does a job whenever the caller looks."""
    shop.ledger.work = shop.complete_next
    return shop
