"""When to try again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from jobs.errors import FailureClass

FIRST: Final = timedelta(seconds=2)
LONGEST: Final = timedelta(minutes=5)
#: Classes whose cause is not outside the worker: waiting would not help.
AT_ONCE: Final = frozenset({FailureClass.WORKER_FATAL, FailureClass.LOST})


def retry_in(
    failure_class: FailureClass,
    failures: int,
    *,
    pick: Callable[[float, float], float] = random.uniform,
) -> timedelta:
    """Full jitter: anywhere between nothing and twice the pause before.

    Source: AWS Builders' Library, "Timeouts, retries and backoff with jitter".
    """
    if failure_class in AT_ONCE:
        return timedelta(0)
    doublings = min(failures, 16)  # a budget of 100 failures would overflow a timedelta
    return timedelta(seconds=pick(0.0, min(LONGEST, FIRST * 2**doublings).total_seconds()))


def pauses(*, first: float = 0.2, longest: float = 5.0) -> Iterator[float]:
    """Seconds between tries in place, doubling."""
    pause = first
    while True:
        yield pause
        pause = min(longest, pause * 2)
