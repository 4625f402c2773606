"""What several suites need of the process that they run in."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture
def untouched_log() -> Iterator[None]:
    """The process's logging and warnings as they were."""
    root, others = logging.getLogger(), ("celery", "kombu", "urllib3")
    before = root.handlers[:], root.level, [logging.getLogger(one).level for one in others]
    with warnings.catch_warnings():
        yield
    root.handlers[:], root.level = before[0], before[1]
    for name, level in zip(others, before[2], strict=True):
        logging.getLogger(name).setLevel(level)
