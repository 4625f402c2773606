"""How many jobs a process may hold: what its card will need soon, and no more."""

from __future__ import annotations

from math import inf
from threading import Thread

import pytest

from jobs.errors import WorkerFatal
from tests.services import eventually
from tests.unit.worker.test_card import Seconds, never
from worker.card.card import Card
from worker.card.gate import ACCIDENT, MAX_AFTER, MAX_LEAD, MAX_SLACK, PATIENCE, Gate, Place


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
        place.reached_card()
        clock.now += 1.0
        gate.card.step(1, 10)
        assert not gate.is_open

        clock.now += 8.0
        gate.card.step(9, 10)
        assert not gate.is_open  # another second, and fetching takes a tenth of one

        clock.now += 1.0
        gate.card.step(10, 10)
        assert gate.is_open


def ready_after(gate: Gate, clock: Seconds, *spans: float) -> None:
    """Jobs that take so many seconds from their place to being ready."""
    for seconds in spans:
        with admitted(gate) as place:
            clock.now += seconds
            place.is_ready()
            place.reached_card()


def test_it_tells_when_it_will_open(gate: Gate, clock: Seconds) -> None:
    place = admitted(gate)
    assert gate.opens_in() == inf
    with gate.card.taken(never):
        place.reached_card()
        assert gate.opens_in() == inf  # nothing is known of a first job
        clock.now += 1.0
        gate.card.step(1, 10)
        assert gate.opens_in() == pytest.approx(9.0 - gate.lead)
        clock.now += 0.5
        assert gate.opens_in() == pytest.approx(8.5 - gate.lead)

    assert gate.opens_in() == 0.0


def test_it_learns_how_long_a_job_takes_to_be_ready(gate: Gate, clock: Seconds) -> None:
    ready_after(gate, clock, *[2.0] * 40)

    assert gate.lead == pytest.approx(2.0 + PATIENCE, abs=0.01)
    with gate.card.taken(never):
        clock.now += 6.0
        gate.card.step(3, 4)
        assert gate.card.free_in() == 2.0
        assert gate.is_open


def test_who_cannot_tell_beforehand_is_early_rather_than_late(gate: Gate, clock: Seconds) -> None:
    ready_after(gate, clock, *[0.09, 0.11] * 20)

    assert 0.1 + PATIENCE + 0.005 < gate.lead <= 0.11 + MAX_SLACK


def test_a_job_is_ready_only_little_before_the_card_is_free(gate: Gate, clock: Seconds) -> None:
    ready_after(gate, clock, *[0.5, 1.5] * 20)

    assert gate.lead <= 1.2 + MAX_SLACK


def test_a_first_job_that_opens_all_connections_does_not_make_the_next_ones_early(
    gate: Gate, clock: Seconds
) -> None:
    ready_after(gate, clock, 1.0, 0.06)

    assert gate.lead < 0.06 + 2 * MAX_SLACK


def test_an_outage_of_the_bucket_says_nothing_about_its_usual_speed(
    gate: Gate, clock: Seconds
) -> None:
    ready_after(gate, clock, *[0.1] * 20)
    before = gate.lead
    ready_after(gate, clock, 60.0)

    assert gate.lead < ACCIDENT * before


def test_a_bucket_that_stays_slow_is_taken_as_it_is_but_within_bounds(
    gate: Gate, clock: Seconds
) -> None:
    ready_after(gate, clock, *[3_600.0] * 60)

    assert gate.lead == MAX_LEAD


def test_whoever_waits_for_it_to_open_hears_of_all_that_may_open_it(
    gate: Gate, clock: Seconds
) -> None:
    def heard() -> bool:
        told = gate.news.is_set()
        gate.news.clear()
        return told

    place = admitted(gate)
    assert heard()
    with gate.card.taken(never):
        place.reached_card()
        assert heard()
        clock.now += 1.0
        gate.card.step(1, 2)
        assert heard()
    assert heard()
    gate.left(place)
    assert heard()


def test_uploads_that_do_not_end_shut_it(gate: Gate) -> None:
    for _ in range(MAX_AFTER + 1):
        admitted(gate).reached_card()

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


def test_nobody_is_admitted_to_a_broken_card(gate: Gate) -> None:
    """Else a worker could claim, before it ends, the very job that broke its card."""
    with pytest.raises(WorkerFatal), gate.card.taken(never):
        raise WorkerFatal("an illegal memory access")

    assert not gate.is_open
    assert gate.admit() is None


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
