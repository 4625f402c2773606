"""One round of renewals: what it keeps alive, and which orders it brings."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import cast

import pytest

from jobs.errors import Unavailable
from jobs.ledger import WORKER_TIMEOUT, Ledger
from jobs.model import Order
from jobs.testing import MemoryLedger
from tests.conformance.scenes import Clock
from tests.services import eventually
from tests.unit.worker.bench import LEASE, WORKER, Bench, new
from tests.unit.worker.test_card import Seconds
from worker.attempt.leases import LeaseKeeper
from worker.held import Held, Ordered
from worker.pulse import Pulse


def why_stopped(held: Held) -> str | None:
    try:
        held.check()
    except Ordered as ordered:
        return ordered.stop.why
    return None


def test_a_round_extends_every_lease_and_reports_its_progress() -> None:
    clock = Clock()
    bench = Bench(ledger=MemoryLedger(clock))
    one, two = bench.lease(), bench.lease(new("another"))
    with bench.keeper.keep(one) as held, bench.keeper.keep(two):
        held.step(3, 8)
        clock.advance(LEASE - timedelta(seconds=1))
        bench.keeper.renew()
        clock.advance(LEASE - timedelta(seconds=1))

        assert bench.ledger.expire() == []
        assert (bench.job(one).steps_done, bench.job(one).steps_total) == (3, 8)


def test_a_lease_is_renewed_only_while_it_is_kept() -> None:
    clock = Clock()
    bench = Bench(ledger=MemoryLedger(clock))
    lease = bench.lease()
    with bench.keeper.keep(lease):
        pass

    clock.advance(LEASE)
    bench.keeper.renew()

    assert [job.id for job in bench.ledger.expire()] == [lease.job.id]


def test_a_worker_is_unknown_to_a_ledger_that_answers_and_does_not_name_it() -> None:
    clock = Clock()
    bench = Bench(ledger=MemoryLedger(clock))
    before = bench.keeper.is_unknown()
    clock.advance(WORKER_TIMEOUT + timedelta(seconds=1))

    assert (before, bench.keeper.is_unknown()) == (False, True)


def test_a_ledger_that_was_away_for_long_has_heard_of_its_workers() -> None:
    """It takes them for gone until they renew."""
    clock, monotonic = Clock(), Seconds()
    bench = Bench(ledger=MemoryLedger(clock))
    bench.keeper.answered = Pulse(monotonic)
    clock.advance(WORKER_TIMEOUT + timedelta(seconds=1))
    monotonic.now += WORKER_TIMEOUT.total_seconds() + 1

    assert not bench.keeper.is_unknown()


def test_a_worker_without_jobs_shows_a_sign_of_life() -> None:
    clock = Clock()
    bench = Bench(ledger=MemoryLedger(clock))
    for _ in range(5):
        clock.advance(timedelta(seconds=20))
        bench.keeper.renew()

    assert [one.id for one in bench.ledger.live_workers()] == [WORKER.id]


def test_a_cancel_reaches_the_job_it_is_meant_for() -> None:
    bench = Bench()
    one, two = bench.lease(), bench.lease(new("another"))
    with bench.keeper.keep(one) as cancelled, bench.keeper.keep(two) as other:
        bench.ledger.cancel(one.job.id, who="caller")
        bench.keeper.renew()

        assert why_stopped(cancelled) == "cancelled by the caller"
        assert why_stopped(other) is None


def test_a_lost_lease_outranks_every_other_order() -> None:
    bench = Bench()
    with bench.keeper.keep(bench.lease()) as held:
        held.order(Order.CANCEL, "cancelled")
        held.order(None, "the worker is ending")
        assert why_stopped(held) == "cancelled"

        held.order(Order.LOST, "gone")
        assert why_stopped(held) == "gone"


def test_our_own_later_attempt_shows_that_the_earlier_one_is_lost() -> None:
    """Both are ours after a pause of this process, in which the lease ran out."""
    bench = Bench()
    first = bench.lease()
    with bench.keeper.keep(first) as stale:
        bench.ledger.hand_back(first, why="ran out")
        second = bench.ledger.claim(first.job.id, WORKER, lease=LEASE)
        assert second is not None
        with bench.keeper.keep(second) as fresh:
            bench.keeper.renew()

            assert why_stopped(stale) == "another attempt owns the job"
            assert why_stopped(fresh) is None


def test_a_ledger_that_is_away_ends_nothing() -> None:
    bench = Bench()
    bench.books.shut("renew")
    with bench.keeper.keep(bench.lease()) as held:
        with pytest.raises(Unavailable):
            bench.keeper.renew()

        assert why_stopped(held) is None


def test_giving_back_reaches_jobs_that_are_claimed_a_moment_later() -> None:
    bench = Bench()
    with bench.keeper.keep(bench.lease()) as before:
        bench.keeper.give_back("the worker is ending")
        with bench.keeper.keep(bench.lease(new("another"))) as after:
            assert why_stopped(before) == why_stopped(after) == "the worker is ending"


def some_rounds(bench: Bench) -> LeaseKeeper:
    """Run a keeper's thread for a while."""
    keeper = LeaseKeeper(cast("Ledger", bench.books), WORKER, every=timedelta(milliseconds=1))
    keeper.start()
    eventually(lambda: len(bench.books.calls) >= 8)
    keeper.stop()
    return keeper


def test_the_thread_survives_whatever_the_ledger_throws(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.books.rig("renew", RuntimeError("a bug"), ValueError("another"))

    some_rounds(bench)

    assert caplog.messages == ["renewal_crashed"] * 2


def test_an_outage_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.books.shut("renew", times=5)

    with caplog.at_level(logging.INFO):
        keeper = some_rounds(bench)

    assert caplog.messages == ["ledger_away", "ledger_back"]
    assert not keeper.outage.lasts
