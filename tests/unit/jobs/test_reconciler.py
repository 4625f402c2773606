"""One tick: what it sends, what it sends again, and what it leaves alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

import pytest

from jobs.errors import Unavailable
from jobs.ledger import Ledger
from jobs.model import JobId
from jobs.reconciler import GRACE, REUNION, TOO_OLD, WINDOW_PER_WORKER, Reconciler
from jobs.states import JobState
from jobs.testing import MemoryLedger, RecordingDispatcher
from tests.conformance.scenes import (
    MINUTE,
    MODEL,
    OTHER,
    QUEUE,
    SECOND,
    WORKER,
    Clock,
    all_submitted,
    claimed,
    several,
    worker,
)
from tests.unit.worker.bench import Door


@dataclass
class Seconds:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    def __init__(self, *, jobs: int = 0) -> None:
        self.clock = Clock()
        self.seconds = Seconds()
        self.ledger = MemoryLedger(self.clock)
        self.ledger.register(WORKER)
        self.books = Door(self.ledger)
        self.dispatcher = RecordingDispatcher()
        self.reconciler = Reconciler(
            ledger=cast("Ledger", self.books),
            dispatcher=self.dispatcher,
            clock=self.seconds,
        )
        self.ids = all_submitted(self.ledger, several(jobs))

    def tick(self, *, after: timedelta = timedelta(0)) -> None:
        self.clock.advance(after)
        self.ledger.renew(WORKER.id, [])  # the worker lives
        self.reconciler.tick()

    def sent(self) -> list[JobId]:
        return [job_id for _queue, job_id in self.dispatcher.sent]


def test_the_window_of_a_queue_is_filled_and_the_rest_waits_in_the_ledger() -> None:
    world = World(jobs=WINDOW_PER_WORKER + 3)

    world.tick()

    assert world.sent() == world.ids[:WINDOW_PER_WORKER]
    assert {queue for queue, _ in world.dispatcher.sent} == {QUEUE}


def test_the_window_grows_with_the_workers() -> None:
    world = World(jobs=3 * WINDOW_PER_WORKER)
    world.ledger.register(OTHER)

    world.tick()

    assert world.sent() == world.ids[: 2 * WINDOW_PER_WORKER]


def test_nothing_is_sent_where_nobody_listens() -> None:
    """Messages would pile up: after a while, each counts as lost and is sent again."""
    world = World(jobs=1)
    world.ledger.retire(WORKER.id)

    world.reconciler.tick()

    assert world.sent() == []


def test_jobs_whose_workers_are_gone_go_where_they_are_served() -> None:
    world = World(jobs=1)
    elsewhere = worker("gpu-3", model=replace(MODEL, profile_group="both"))
    world.ledger.retire(WORKER.id)
    world.ledger.register(elsewhere)

    world.reconciler.tick()
    world.reconciler.tick()

    assert world.dispatcher.sent == [(elsewhere.model.queue, world.ids[0])]


def test_there_is_never_more_than_a_window_in_the_broker() -> None:
    world = World(jobs=3 * WINDOW_PER_WORKER)
    for _ in range(5):
        world.tick(after=SECOND)

    assert len(world.sent()) == WINDOW_PER_WORKER


def test_messages_of_jobs_that_workers_took_by_themselves_do_not_pile_up() -> None:
    world = World(jobs=100)
    longest = 0

    for _ in range(20):
        world.tick()
        longest = max(longest, world.dispatcher.length(QUEUE))
        for _ in range(WINDOW_PER_WORKER):
            assert world.ledger.claim_next(WORKER) is not None

    assert longest <= 2 * WINDOW_PER_WORKER
    while world.dispatcher.deliver(QUEUE):
        pass
    world.tick()
    assert world.dispatcher.length(QUEUE) == WINDOW_PER_WORKER


def test_a_job_that_was_taken_makes_room_for_the_next() -> None:
    world = World(jobs=WINDOW_PER_WORKER + 1)
    world.tick()
    claimed(world.ledger, world.ledger.get(world.ids[0]))
    assert world.dispatcher.deliver(QUEUE) == world.ids[0]

    world.tick()

    assert world.sent() == world.ids


def test_with_the_broker_away_nothing_is_marked_as_sent() -> None:
    world = World(jobs=2)
    world.dispatcher.away = True
    world.tick()
    assert [world.ledger.get(one).dispatched_at for one in world.ids] == [None, None]

    world.dispatcher.away = False
    world.tick()

    assert world.sent() == world.ids


def test_what_could_not_be_sent_is_unmarked() -> None:
    class Surprised(RecordingDispatcher):
        """Seems to be there until it is told something."""

        def ready(self) -> bool:
            return True

    world = World(jobs=2)
    world.reconciler.dispatcher = dispatcher = Surprised()
    dispatcher.away = True

    world.tick()

    assert [world.ledger.get(one).dispatched_at for one in world.ids] == [None, None]


def test_messages_that_are_provably_gone_are_sent_again() -> None:
    world = World(jobs=2)
    world.tick()
    world.dispatcher.lose_all()

    world.tick(after=GRACE + SECOND)

    assert world.sent() == world.ids * 2


def test_a_message_may_be_on_its_way_for_a_moment() -> None:
    world = World(jobs=2)
    world.tick()
    world.dispatcher.lose_all()

    world.tick(after=GRACE - SECOND)

    assert world.sent() == world.ids


def test_a_message_that_waits_in_the_broker_is_not_repeated() -> None:
    world = World(jobs=2)
    world.tick()

    world.tick(after=TOO_OLD - SECOND)

    assert world.sent() == world.ids


def test_a_message_that_is_too_old_is_repeated_wherever_it_may_be() -> None:
    world = World(jobs=2)
    world.tick()

    world.tick(after=TOO_OLD + SECOND)

    assert world.sent() == world.ids * 2


def test_with_the_broker_away_no_message_counts_as_lost() -> None:
    world = World(jobs=2)
    world.tick()
    world.dispatcher.away = True

    world.tick(after=TOO_OLD + SECOND)

    assert all(world.ledger.get(one).dispatched_at for one in world.ids)


def test_a_lease_that_ran_out_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    world = World(jobs=1)
    lease = claimed(world.ledger, world.ledger.get(world.ids[0]), lease=MINUTE)

    world.tick(after=2 * MINUTE)

    job = world.ledger.get(lease.job.id)
    assert (job.state, job.failures) == (JobState.QUEUED, 1)
    (line,) = caplog.records
    assert (line.message, vars(line)["attempt"]) == ("job_expired", 1)
    assert vars(line)["why"] == f"the lease of {lease.holder} ran out"


def test_after_an_outage_of_the_ledger_its_holders_may_renew_first() -> None:
    world = World(jobs=1)
    lease = claimed(world.ledger, world.ledger.get(world.ids[0]), lease=MINUTE)
    world.books.shut("queues", times=1)
    with pytest.raises(Unavailable):
        world.tick()

    world.seconds.now += REUNION - 1
    world.tick(after=2 * MINUTE)
    assert world.ledger.get(lease.job.id).state is JobState.RUNNING

    world.seconds.now += 1
    world.tick()
    assert world.ledger.get(lease.job.id).state is JobState.QUEUED


def test_an_outage_of_the_ledger_is_the_caller_s_to_handle() -> None:
    world = World()
    world.books.shut("queues", "expire")

    with pytest.raises(Unavailable):
        world.tick()
