"""One job at a time on the card, and when it will be free."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event, Thread

import pytest

from jobs.errors import Transient, WorkerFatal
from tests.services import eventually
from worker.card.card import Card


@dataclass
class Seconds:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def never() -> None:
    """What a job asks that nobody has stopped."""


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def card(clock: Seconds) -> Card:
    return Card(clock)


def spend(card: Card, clock: Seconds, seconds: float) -> None:
    with card.taken(never):
        clock.now += seconds


def test_an_idle_card_is_free_now(card: Card) -> None:
    assert card.free_in() == 0.0


def test_nothing_is_known_of_a_first_job_before_its_first_step(card: Card) -> None:
    with card.taken(never):
        assert card.free_in() == float("inf")


def test_the_steps_done_tell_how_long_the_others_will_take(card: Card, clock: Seconds) -> None:
    with card.taken(never):
        clock.now += 6.0
        card.step(2, 8)
        assert card.free_in() == 18.0


def test_before_its_first_step_a_job_is_taken_to_last_as_long_as_usual(
    card: Card, clock: Seconds
) -> None:
    spend(card, clock, 10.0)
    with card.taken(never):
        clock.now += 4.0
        assert card.free_in() == pytest.approx(6.0)
        clock.now += 7.0
        assert card.free_in() == 0.0


def test_a_job_that_takes_much_longer_than_usual_for_its_first_step_is_not_as_usual(
    card: Card, clock: Seconds
) -> None:
    spend(card, clock, 10.0)
    with card.taken(never):
        clock.now += 40.0
        assert card.free_in() == float("inf")


def test_a_job_that_was_interrupted_says_nothing_about_the_usual_time(
    card: Card, clock: Seconds
) -> None:
    spend(card, clock, 10.0)
    with pytest.raises(Transient), card.taken(never):
        raise Transient("at once")

    with card.taken(never):
        assert card.free_in() == pytest.approx(10.0)


def test_the_card_is_free_after_a_failure(card: Card) -> None:
    with pytest.raises(Transient), card.taken(never):
        raise Transient("not now")

    assert card.free_in() == 0.0
    assert not card.is_broken


def test_a_fatal_error_breaks_the_card_before_the_next_job_has_it(card: Card) -> None:
    seen: list[bool] = []
    waiting = Event()

    def ask() -> None:
        waiting.set()

    def next_job() -> None:
        with card.taken(ask):
            seen.append(card.is_broken)

    def fail() -> None:
        with card.taken(never):
            thread.start()
            eventually(waiting.is_set)
            raise WorkerFatal("gone")

    thread = Thread(target=next_job)
    with pytest.raises(WorkerFatal):
        fail()
    thread.join(timeout=10)

    assert seen == [True]


def test_who_is_stopped_while_waiting_leaves_the_card_to_the_others(card: Card) -> None:
    def stop() -> None:
        raise Transient("stopped")

    with pytest.raises(Transient), card.taken(stop):
        pass

    with card.taken(never):
        assert card.free_in() == float("inf")
