"""A ledger that is away when a worker dies is asked again, for as long as that helps."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from jobs.ledger import Ledger
from jobs.states import JobState
from tests.services import eventually
from tests.unit.worker.bench import WORKER, Bench
from worker.supervisor.losses import LedgerLosses


def losses_of(bench: Bench, *, lease: float) -> LedgerLosses:
    return LedgerLosses(ledger=cast("Ledger", bench.books), lease=lease)


def test_a_loss_is_told_once_the_ledger_is_back() -> None:
    bench = Bench()
    lease = bench.lease()
    bench.books.shut("lose_worker", times=1)
    losses = losses_of(bench, lease=60.0)

    losses.report(WORKER.id, "killed")
    losses.settle()

    job = bench.job(lease)
    assert (job.state, job.failures) == (JobState.QUEUED, 1)
    assert bench.books.calls.count("lose_worker") == 2


def test_a_ledger_that_stays_away_is_left_alone_once_the_lease_ran_out() -> None:
    bench = Bench()
    bench.books.shut("lose_worker")
    losses = losses_of(bench, lease=0.0)

    losses.report(WORKER.id, "killed")

    eventually(lambda: not losses.is_busy, within=timedelta(seconds=10))
    assert bench.books.calls == ["lose_worker"]
