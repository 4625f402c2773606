"""Threads that ask for the same thing at one moment are served at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

import pytest

from jobs.errors import Denied, JobsError
from jobs.postgres.together import Together
from tests.services import eventually

PATIENCE = 10.0  # seconds


@dataclass
class Clerk:
    """Doubles numbers; the first group waits for ``opened``, so that others may come meanwhile."""

    opened: Event = field(default_factory=Event)
    groups: list[list[int]] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)
    error: Exception | None = None  #: of every group but the first

    def all_of(self, numbers: Sequence[int]) -> Mapping[int, int]:
        self.groups.append([*numbers])
        if len(self.groups) == 1:
            assert self.opened.wait(PATIENCE)
        elif self.error is not None:
            raise self.error
        return {one: 2 * one for one in numbers if one >= 0}

    def by_itself(self, number: int) -> int:
        self.alone.append(number)
        if number < 0:
            raise JobsError(f"{number} is refused")
        return 2 * number


def called(clerk: Clerk, *numbers: int) -> list[Future[int]]:
    """The first number by itself, the others while it is carried out."""
    together = Together(clerk.all_of, clerk.by_itself)
    with ThreadPoolExecutor(len(numbers)) as pool:
        calls = [pool.submit(together.call, numbers[0], numbers[0])]
        eventually(lambda: len(clerk.groups) == 1)
        calls += [pool.submit(together.call, one, one) for one in numbers[1:]]
        eventually(lambda: len(together) == len(numbers) - 1)
        clerk.opened.set()
    assert len(together) == 0
    return calls


def test_who_comes_while_one_is_served_is_served_together() -> None:
    clerk = Clerk()

    answers = [one.result() for one in called(clerk, 1, 2, 3, 4)]

    assert answers == [2, 4, 6, 8]
    assert [sorted(group) for group in clerk.groups] == [[1], [2, 3, 4]]
    assert clerk.alone == []


def test_who_is_refused_hears_it_alone() -> None:
    clerk = Clerk()

    good, also_good, bad = called(clerk, 1, 2, -3)

    assert (good.result(), also_good.result()) == (2, 4)
    with pytest.raises(JobsError, match="-3 is refused"):
        bad.result()
    assert clerk.alone == [-3]


def test_the_fault_of_one_harms_no_other() -> None:
    clerk = Clerk(error=ValueError("one of these is nonsense"))

    _, good, bad = called(clerk, 1, 2, -3)

    assert good.result() == 4
    with pytest.raises(JobsError, match="-3 is refused"):
        bad.result()


def test_a_server_that_is_away_is_away_for_all() -> None:
    clerk = Clerk(error=Denied("nobody answers us"))

    _, *others = called(clerk, 1, 2, 3)

    for one in others:
        with pytest.raises(Denied, match="nobody answers us"):
            one.result()
    assert clerk.alone == []


def test_of_two_with_one_key_the_second_waits_for_the_first() -> None:
    clerk = Clerk()

    answers = [one.result() for one in called(clerk, 1, 2, 2)]

    assert answers == [2, 4, 4]
    assert clerk.groups == [[1], [2], [2]]
