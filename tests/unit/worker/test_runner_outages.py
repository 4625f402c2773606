"""An attempt while the bucket or the ledger is away."""

from __future__ import annotations

import logging

import pytest

from jobs.errors import Denied, Transient, Unavailable
from jobs.states import JobState
from tests.unit.worker.bench import Bench, raising
from worker.attempt.outcomes import Verdict


@pytest.mark.parametrize("call", ["get", "put"])
def test_a_short_outage_of_the_bucket_is_waited_for(call: str) -> None:
    bench = Bench(patience=5.0)
    bench.bucket.shut(call, times=3)
    lease = bench.lease()

    verdict = bench.run(lease)

    assert verdict is Verdict.SUCCEEDED
    assert bench.job(lease).attempt == 1
    assert bench.bucket.refused == [call] * 3


def test_an_outage_of_the_bucket_is_told_once_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(patience=5.0)
    bench.bucket.shut("get", times=3)

    with caplog.at_level(logging.INFO):
        bench.run(bench.lease())

    assert caplog.messages == ["store_away", "store_back", "attempt_finished"]
    assert "get" in vars(caplog.records[0])["reason"]


def test_a_long_outage_of_the_bucket_costs_no_job_its_budget() -> None:
    bench = Bench()
    bench.bucket.shut("get", "put", "exists")
    lease = bench.lease()

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.HANDED_BACK
    assert (job.state, job.failures) == (JobState.QUEUED, 0)


def test_an_idle_worker_learns_that_the_bucket_is_back() -> None:
    bench = Bench()
    bench.bucket.shut("get", "exists")
    bench.run(bench.lease())
    with pytest.raises(Unavailable):
        bench.runner.look_for_bucket()
    before = bench.runner.outage.lasts

    bench.bucket.shut("exists", times=0)
    bench.runner.look_for_bucket()

    assert (before, bench.runner.outage.lasts) == (True, False)


def test_a_job_that_waits_for_the_bucket_says_itself_when_it_is_back() -> None:
    """An object that is asked for may be there while none can be put: the disk is full."""
    bench = Bench()
    bench.runner.outage.begins("full")

    with bench.keeper.keep(bench.lease()):
        bench.runner.look_for_bucket()

    assert bench.runner.outage.lasts


def test_an_object_that_fails_while_the_bucket_answers_is_bounded_by_the_budget() -> None:
    bench = Bench()
    bench.bucket.shut("get")
    lease = bench.lease()

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.FAILED
    assert (job.state, job.failures) == (JobState.QUEUED, 1)


def test_a_bucket_that_refuses_our_keys_is_bounded_by_the_budget() -> None:
    """It answers; waiting, and handing back for ever, would help nobody."""
    bench = Bench()
    for call in ("get", "exists"):
        bench.bucket.rig(call, *[Denied("AccessDenied")] * 100)
    lease = bench.lease()

    verdict = bench.run(lease)

    assert verdict is Verdict.FAILED
    assert bench.job(lease).failures == 1


def test_keys_that_are_wrong_cost_no_job_its_budget() -> None:
    """Read from an answer without a body, as to HEAD, they are told as a missing right."""
    bench = Bench()
    bench.bucket.shut("get")
    bench.bucket.rig("exists", Denied("AccessDenied"))
    lease = bench.lease()

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.HANDED_BACK
    assert (job.state, job.failures) == (JobState.QUEUED, 0)


@pytest.mark.parametrize(("call", "error"), [("complete", None), ("fail", Transient("not now"))])
def test_an_ending_waits_for_the_ledger(call: str, error: Exception | None) -> None:
    bench = Bench() if error is None else raising(error)
    bench.keeper.outage.lasts = True
    bench.books.shut(call, times=5)
    lease = bench.lease()

    verdict = bench.run(lease)

    assert verdict is (Verdict.FAILED if error else Verdict.SUCCEEDED)
    assert bench.job(lease).state is (JobState.QUEUED if error else JobState.SUCCEEDED)
    assert bench.books.refused == [call] * 5


def test_an_ending_that_a_living_ledger_refuses_is_given_up() -> None:
    bench = Bench()
    bench.books.shut("complete")
    lease = bench.lease()

    verdict = bench.run(lease)

    assert verdict is Verdict.LOST
    assert bench.job(lease).state is JobState.RUNNING
    assert bench.keeper.held() == []
