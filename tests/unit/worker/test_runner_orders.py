"""An attempt that is told to end: cancelled, late, no longer its own, or handed back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from threading import Thread

from jobs.model import EditRequest
from jobs.states import JobState
from jobs.testing import MemoryLedger
from tests.conformance.scenes import Clock
from tests.services import eventually
from tests.unit.worker.bench import LEASE, OTHER, Bench, new
from worker.attempt.outcomes import Verdict
from worker.engine.fake import FakeEngine


def test_a_cancel_is_obeyed_within_a_step() -> None:
    steps: list[int] = []

    def cancel(_request: EditRequest, step: int) -> None:
        steps.append(step)
        if step == 2:
            bench.ledger.cancel(lease.job.id, who="caller")
            bench.keeper.renew()

    bench = Bench(cancel)
    lease = bench.lease()

    verdict = bench.run(lease)

    assert verdict is Verdict.CANCELLED
    assert bench.job(lease).state is JobState.CANCELLED
    assert steps == [1, 2]
    assert bench.outputs() == []


def test_a_cancel_is_obeyed_while_pictures_are_prepared() -> None:
    def cancel(_request: EditRequest, _step: int) -> None:
        bench.ledger.cancel(lease.job.id, who="caller")
        bench.keeper.renew()

    bench = Bench()
    lease, place = bench.lease(), bench.gate.admit()
    assert place is not None
    runner = replace(bench.runner, engine=FakeEngine(fault_before=cancel))

    verdict = runner.run(lease, place)

    assert verdict is Verdict.CANCELLED
    assert place.ready_after is None  # it never came to wait for the card


def test_a_cancel_ends_the_wait_for_the_bucket() -> None:
    bench = Bench(patience=60.0)
    bench.bucket.shut("get")
    lease = bench.lease()
    thread = Thread(target=bench.run, args=[lease])
    thread.start()
    eventually(lambda: "get" in bench.bucket.refused)

    bench.ledger.cancel(lease.job.id, who="caller")
    bench.keeper.renew()
    thread.join(timeout=10)

    assert bench.job(lease).state is JobState.CANCELLED


def test_a_cancel_ends_the_wait_for_the_card() -> None:
    bench = Bench()
    lease, place = bench.lease(), bench.gate.admit()
    assert place is not None
    with bench.card.taken(lambda: None):
        thread = Thread(target=bench.runner.run, args=[lease, place])
        thread.start()
        eventually(lambda: len(bench.keeper.held()) == 1)
        bench.ledger.cancel(lease.job.id, who="caller")
        bench.keeper.renew()
        thread.join(timeout=10)

        assert bench.job(lease).state is JobState.CANCELLED


def test_an_attempt_past_its_limit_fails_with_that_code() -> None:
    clock = Clock()

    def dawdle(_request: EditRequest, _step: int) -> None:
        clock.advance(timedelta(seconds=30))
        bench.keeper.renew()

    bench = Bench(dawdle, ledger=MemoryLedger(clock))
    lease = bench.lease(new(run_limit=timedelta(seconds=45)))

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.FAILED
    assert (job.state, job.failures) == (JobState.QUEUED, 1)
    assert job.failure is not None
    assert job.failure.code == "run_limit"


def test_a_lost_lease_publishes_nothing() -> None:
    def lose(_request: EditRequest, step: int) -> None:
        if step == 1:
            bench.ledger.hand_back(lease, why="somebody else's")
            bench.ledger.claim(lease.job.id, OTHER, lease=LEASE)
            bench.keeper.renew()

    bench = Bench(lose)
    lease = bench.lease()

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.LOST
    assert (job.state, job.attempt, job.holder) == (JobState.RUNNING, 2, OTHER.holder)
    assert bench.outputs() == []


def test_a_lease_lost_unnoticed_is_refused_at_the_end() -> None:
    def lose(_request: EditRequest, step: int) -> None:
        if step == 1:
            bench.ledger.hand_back(lease, why="somebody else's")

    bench = Bench(lose)
    lease = bench.lease()

    verdict = bench.run(lease)

    assert verdict is Verdict.LOST
    assert bench.job(lease).state is JobState.QUEUED
    assert bench.job(lease).result is None


def test_a_job_is_handed_back_uncounted() -> None:
    def drain(_request: EditRequest, _step: int) -> None:
        bench.keeper.give_back("the worker is ending")

    bench = Bench(drain)
    lease = bench.lease()

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.HANDED_BACK
    assert (job.state, job.failures) == (JobState.QUEUED, 0)
    assert bench.ledger.history(job.id)[-1].why == "the worker is ending"


def test_a_drain_ends_the_wait_for_the_bucket_uncounted() -> None:
    bench = Bench(patience=60.0)
    bench.bucket.shut("put")
    lease = bench.lease()
    thread = Thread(target=bench.run, args=[lease])
    thread.start()
    eventually(lambda: "put" in bench.bucket.refused)

    bench.keeper.give_back("the worker is ending")
    thread.join(timeout=10)

    assert (bench.job(lease).state, bench.job(lease).failures) == (JobState.QUEUED, 0)
