"""A call that may hang is waited for, and left where waiting makes no sense any more."""

from __future__ import annotations

from threading import Event

import pytest

from jobs.errors import NoSuchArtifact, Unavailable
from worker.attempt.aside import aside


def nothing() -> None:
    """Nobody has ordered anything."""


def test_what_the_call_returns_is_returned() -> None:
    assert aside(lambda: 7, nothing) == 7


@pytest.mark.parametrize("error", [NoSuchArtifact("gone"), TimeoutError("its own"), ValueError()])
def test_what_the_call_raises_is_raised(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        aside(fail, nothing)

    assert raised.value is error


def test_an_order_ends_the_wait_and_the_call_goes_on() -> None:
    lets_go, ended = Event(), Event()

    def hang() -> None:
        lets_go.wait()
        ended.set()

    def ordered() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        aside(hang, ordered)

    lets_go.set()
    assert ended.wait(30)


def test_a_call_without_an_end_is_an_outage() -> None:
    lets_go = Event()

    with pytest.raises(Unavailable, match=r"after 0\.2 s"):
        aside(lets_go.wait, nothing, longest=0.2)

    lets_go.set()
