"""How many jobs a process may hold: what its card will need soon, and no more."""

from __future__ import annotations

from threading import Thread

import pytest

from tests.services import eventually
from tests.unit.worker.test_card import Seconds, never
from worker.card import Card
from worker.gate import MAX_AFTER, MAX_LEAD, MIN_LEAD, Gate, Place


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def gate(clock: Seconds) -> Gate:
    return Gate(Card(clock))


def admitted(gate: Gate) -> Place:
    place = gate.admit()
    assert place is not None
    return place


def test_an_idle_worker_takes_a_job(gate: Gate) -> None:
    assert gate.is_open
    assert gate.admit() is not None


def test_two_never_stand_before_the_card(gate: Gate) -> None:
    admitted(gate)

    assert not gate.is_open
    assert gate.admit() is None


def test_the_next_is_taken_only_when_the_card_will_be_free_by_the_time_it_is_ready(
    gate: Gate, clock: Seconds
) -> None:
    place = admitted(gate)
    with gate.card.taken(never):
        place.reached_card(0.0)
        clock.now += 1.0
        gate.card.step(1, 10)
        assert not gate.is_open

        clock.now += 8.0
        gate.card.step(9, 10)
        assert not gate.is_open  # another second, and fetching takes a tenth of one

        clock.now += 1.0
        gate.card.step(10, 10)
        assert gate.is_open


def test_it_learns_how_long_fetching_takes(gate: Gate, clock: Seconds) -> None:
    for _ in range(20):
        with admitted(gate) as place:
            place.reached_card(2.0)

    with gate.card.taken(never):
        clock.now += 7.5
        gate.card.step(3, 4)
        assert gate.card.free_in() == 2.5
        assert gate.is_open


@pytest.mark.parametrize(("seconds", "lead"), [(0.0, MIN_LEAD), (3_600.0, MAX_LEAD)])
def test_what_it_learns_has_bounds(gate: Gate, clock: Seconds, seconds: float, lead: float) -> None:
    for _ in range(20):
        with admitted(gate) as place:
            place.reached_card(seconds)

    with gate.card.taken(never):
        clock.now += lead
        gate.card.step(1, 2)
        assert gate.is_open
        clock.now += 0.1
        gate.card.step(1, 2)
        assert not gate.is_open


def test_uploads_that_do_not_end_shut_it(gate: Gate) -> None:
    for _ in range(MAX_AFTER + 1):
        admitted(gate).reached_card(0.0)

    assert not gate.is_open
    assert gate.admit() is None


def test_a_place_that_is_left_is_free_again(gate: Gate) -> None:
    with admitted(gate):
        assert gate.jobs == 1

    assert gate.jobs == 0
    assert gate.is_open


def test_a_place_is_left_whatever_happens(gate: Gate) -> None:
    with pytest.raises(RuntimeError), admitted(gate):
        raise RuntimeError("a bug")

    assert gate.jobs == 0


def test_a_closed_gate_never_opens_again(gate: Gate) -> None:
    place = admitted(gate)
    gate.close()
    gate.left(place)

    assert not gate.is_open
    assert gate.admit() is None


def test_waiting_for_an_empty_worker_ends_with_the_last_place(gate: Gate) -> None:
    seen: list[bool] = []
    place = admitted(gate)
    assert not gate.wait_empty(0.0)
    thread = Thread(target=lambda: seen.append(gate.wait_empty(10.0)))
    thread.start()
    eventually(thread.is_alive)

    gate.left(place)
    thread.join(timeout=10)

    assert seen == [True]
