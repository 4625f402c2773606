"""Leases: renewed while their worker lives, lost when it does not."""

from __future__ import annotations

from dataclasses import replace

from jobs.errors import FailureClass
from jobs.ledger import LEASE, Ledger
from jobs.model import Failure, Order
from jobs.states import JobState
from tests.conformance.scenes import (
    MINUTE,
    OTHER,
    SECOND,
    SLACK,
    UNKNOWN,
    WORKER,
    LetPass,
    claimed,
    completed,
    holding,
    new,
    renewed,
    submitted,
    superseded_lease,
)


class RenewalConformance:
    def test_a_lease_runs_out_by_itself(self, ledger: Ledger, let_pass: LetPass) -> None:
        lease = claimed(ledger)
        let_pass(MINUTE - SLACK)
        early = ledger.expire()
        let_pass(2 * SLACK)

        (job,) = ledger.expire()

        assert list(early) == []
        assert job == ledger.get(lease.job.id)
        assert (job.state, job.attempt, job.failures) == (JobState.QUEUED, 1, 1)
        assert (job.holder, job.lease_expires_at) == (None, None)
        assert job.failure == Failure(
            failure_class=FailureClass.LOST,
            code="lease_expired",
            message="the lease of host/gpu-1/1 ran out",
        )

    def test_a_lost_job_runs_again_at_once(self, ledger: Ledger, let_pass: LetPass) -> None:
        lost = claimed(ledger)
        let_pass(2 * MINUTE)
        ledger.expire()

        assert claimed(ledger, lost.job, by=OTHER).attempt == 2

    def test_a_lease_is_lost_once(self, ledger: Ledger, let_pass: LetPass) -> None:
        claimed(ledger)
        let_pass(2 * MINUTE)
        ledger.expire()

        assert list(ledger.expire()) == []

    def test_a_lease_lasts_fifteen_seconds_unless_told(self, ledger: Ledger) -> None:
        lease = ledger.claim(submitted(ledger).id, WORKER)

        assert lease is not None
        assert lease.job.started_at is not None
        assert lease.job.lease_expires_at == lease.job.started_at + LEASE
        assert 15 * SECOND == LEASE

    def test_no_more_are_ended_than_the_limit(self, ledger: Ledger, let_pass: LetPass) -> None:
        for number in range(3):
            claimed(ledger, submitted(ledger, new(f"edit {number}")))
        let_pass(2 * MINUTE)

        assert [len(ledger.expire(limit=2)) for _ in range(3)] == [2, 1, 0]

    def test_renewing_keeps_a_lease(self, ledger: Ledger, let_pass: LetPass) -> None:
        lease = claimed(ledger)
        let_pass(MINUTE - SLACK)

        assert renewed(ledger, lease) is Order.CONTINUE

        let_pass(MINUTE - SLACK)
        assert list(ledger.expire()) == []
        assert completed(ledger, lease).state is JobState.SUCCEEDED

    def test_a_lease_that_ran_out_unnoticed_can_still_be_renewed(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        lease = claimed(ledger)
        let_pass(2 * MINUTE)

        assert renewed(ledger, lease) is Order.CONTINUE
        assert list(ledger.expire()) == []

    def test_progress_is_written(self, ledger: Ledger) -> None:
        lease = claimed(ledger)

        ledger.renew(WORKER.id, [holding(lease, 3, 4)])

        job = ledger.get(lease.job.id)
        assert (job.steps_done, job.steps_total, job.progress) == (3, 4, 0.75)

    def test_all_leases_of_a_worker_are_renewed_in_one_call(self, ledger: Ledger) -> None:
        one = claimed(ledger, submitted(ledger, new("one")))
        two = claimed(ledger, submitted(ledger, new("two")))
        gone = claimed(ledger, submitted(ledger, new("gone")))
        ledger.cancel(two.job.id, who="ann")
        completed(ledger, gone)

        orders = ledger.renew(
            WORKER.id, [holding(one, 1, 2), holding(two, 1, 4), holding(gone, 2, 2)]
        )

        assert orders == {
            one.job.id: Order.CONTINUE,
            two.job.id: Order.CANCEL,
            gone.job.id: Order.LOST,
        }
        assert ledger.get(one.job.id).progress == 0.5
        assert ledger.get(two.job.id).progress == 0.25

    def test_nothing_held_is_nothing_renewed(self, ledger: Ledger) -> None:
        assert ledger.renew(WORKER.id, []) == {}

    def test_a_stale_attempt_is_told_that_it_lost(self, ledger: Ledger) -> None:
        stale, fresh = superseded_lease(ledger)

        assert renewed(ledger, stale) is Order.LOST
        assert renewed(ledger, stale, by=OTHER) is Order.LOST
        assert ledger.get(fresh.job.id) == fresh.job

    def test_nobody_renews_the_lease_of_another(self, ledger: Ledger) -> None:
        lease = claimed(ledger)

        assert renewed(ledger, lease, by=OTHER) is Order.LOST
        assert ledger.get(lease.job.id) == lease.job

    def test_an_unknown_job_is_lost(self, ledger: Ledger) -> None:
        lease = claimed(ledger)
        unknown = replace(holding(lease), job_id=UNKNOWN)

        assert ledger.renew(WORKER.id, [unknown]) == {UNKNOWN: Order.LOST}

    def test_an_attempt_past_its_limit_is_told_to_stop(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        lease = claimed(ledger, submitted(ledger, new(run_limit=MINUTE)))
        let_pass(MINUTE - SLACK)
        early = renewed(ledger, lease)
        let_pass(2 * SLACK)

        assert early is Order.CONTINUE
        assert renewed(ledger, lease) is Order.STOP

    def test_the_limit_is_for_each_attempt_anew(self, ledger: Ledger, let_pass: LetPass) -> None:
        first = claimed(ledger, submitted(ledger, new(run_limit=10 * SECOND)))
        let_pass(20 * SECOND)
        ledger.hand_back(first, why="drain")
        second = claimed(ledger, first.job)

        assert renewed(ledger, second) is Order.CONTINUE

    def test_a_cancelled_attempt_past_its_limit_is_told_to_cancel(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        lease = claimed(ledger, submitted(ledger, new(run_limit=10 * SECOND)))
        let_pass(20 * SECOND)
        ledger.cancel(lease.job.id, who="ann")

        assert renewed(ledger, lease) is Order.CANCEL
