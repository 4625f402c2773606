"""When a thing that failed is tried again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from jobs.breaker import FIRST_PAUSE, LONGEST_PAUSE, Breaker


@dataclass
class Seconds:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def breaker(clock: Seconds) -> Breaker:
    return Breaker(clock)


def pause(breaker: Breaker, clock: Seconds) -> float:
    """How long it stays open after one more failure."""
    breaker.failed()
    began = clock.now
    while breaker.is_open:
        clock.now += FIRST_PAUSE / 2
    return clock.now - began


def test_it_begins_closed(breaker: Breaker) -> None:
    assert not breaker.is_open


def test_a_failure_opens_it_for_a_while(breaker: Breaker, clock: Seconds) -> None:
    assert pause(breaker, clock) == FIRST_PAUSE


def test_the_pause_doubles_with_each_failure_in_a_row(breaker: Breaker, clock: Seconds) -> None:
    pauses = [pause(breaker, clock) for _ in range(5)]

    assert pauses == [FIRST_PAUSE * 2**n for n in range(5)]


def test_the_pause_has_a_limit(breaker: Breaker, clock: Seconds) -> None:
    pauses = [pause(breaker, clock) for _ in range(200)]

    assert max(pauses) == LONGEST_PAUSE


def test_a_success_closes_it_and_forgets_the_failures(breaker: Breaker, clock: Seconds) -> None:
    for _ in range(5):
        breaker.failed()
    breaker.succeeded()

    assert not breaker.is_open
    assert pause(breaker, clock) == FIRST_PAUSE
