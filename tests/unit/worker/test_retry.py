"""When a job that ended badly is tried again."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import FailureClass
from worker.attempt.retry import AT_ONCE, FIRST, LONGEST, pauses, retry_in

WAITS = [one for one in FailureClass if one not in AT_ONCE]


def latest(_low: float, high: float) -> float:
    return high


@given(st.sampled_from(FailureClass), st.integers(min_value=0, max_value=100))
def test_the_pause_is_never_negative_and_never_longer_than_the_longest(
    failure_class: FailureClass, failures: int
) -> None:
    assert timedelta(0) <= retry_in(failure_class, failures) <= LONGEST


@pytest.mark.parametrize("failure_class", WAITS)
def test_the_bound_doubles_with_each_failure(failure_class: FailureClass) -> None:
    bounds = [retry_in(failure_class, failures, pick=latest) for failures in range(4)]

    assert bounds == [FIRST, FIRST * 2, FIRST * 4, FIRST * 8]


def test_the_jitter_is_full() -> None:
    seen: list[tuple[float, float]] = []

    def pick(low: float, high: float) -> float:
        seen.append((low, high))
        return low

    assert retry_in(FailureClass.TRANSIENT, 1, pick=pick) == timedelta(0)
    assert seen == [(0.0, 4.0)]


@pytest.mark.parametrize("failure_class", sorted(AT_ONCE))
def test_waiting_does_not_help_against_a_lost_worker(failure_class: FailureClass) -> None:
    assert retry_in(failure_class, 2, pick=latest) == timedelta(0)


def test_tries_in_place_double_up_to_a_limit() -> None:
    assert list(islice(pauses(first=0.2, longest=1.0), 5)) == [0.2, 0.4, 0.8, 1.0, 1.0]
