"""Cancelling, in whatever state the job is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs.errors import FailureClass, JobNotFound, LeaseLost
from jobs.ledger import Ledger
from jobs.model import Job, Lease, Order
from jobs.states import JobState
from tests.conformance.scenes import (
    MINUTE,
    OTHER,
    UNKNOWN,
    WORKER,
    LetPass,
    claimed,
    completed,
    failed,
    failure,
    renewed,
    submitted,
)

ENDS: dict[str, Callable[[Ledger, Lease], Job]] = {
    "failed": lambda ledger, lease: ledger.fail(lease, failure()),
    "failed for good": lambda ledger, lease: ledger.fail(lease, failure(FailureClass.PERMANENT)),
    "handed back": lambda ledger, lease: ledger.hand_back(lease, why="drain"),
    "confirmed": lambda ledger, lease: ledger.confirm_cancel(lease),
}


class CancelConformance:
    def test_a_queued_job_is_cancelled_at_once(self, ledger: Ledger) -> None:
        job = submitted(ledger)

        gone = ledger.cancel(job.id, who="ann", why="wrong shirt")

        assert gone == ledger.get(job.id)
        assert gone.state is JobState.CANCELLED
        assert gone.finished_at is not None
        assert ledger.claim(job.id, WORKER) is None
        last = ledger.history(job.id)[-1]
        assert (last.who, last.why, last.to_state) == ("ann", "wrong shirt", JobState.CANCELLED)

    def test_a_running_job_is_asked_to_stop(self, ledger: Ledger) -> None:
        lease = claimed(ledger)

        job = ledger.cancel(lease.job.id, who="ann")

        assert (job.state, job.attempt, job.finished_at) == (JobState.RUNNING, 1, None)
        assert job.cancel_requested_at is not None
        assert renewed(ledger, lease) is Order.CANCEL
        assert renewed(ledger, lease) is Order.CANCEL

    def test_who_asked_is_in_the_audit_of_a_confirmed_cancel(self, ledger: Ledger) -> None:
        lease = claimed(ledger)
        ledger.cancel(lease.job.id, who="ann", why="wrong shirt")
        ledger.cancel(lease.job.id, who="bob", why="me too")

        job = ledger.confirm_cancel(lease)

        assert job == ledger.get(job.id)
        assert job.state is JobState.CANCELLED
        assert (job.holder, job.lease_expires_at) == (None, None)
        last = ledger.history(job.id)[-1]
        assert (last.who, last.why) == ("ann", "wrong shirt")

    @pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
    def test_an_attempt_that_ends_after_a_cancel_is_not_followed_by_another(
        self, ledger: Ledger, end: Callable[[Ledger, Lease], Job]
    ) -> None:
        lease = claimed(ledger)
        ledger.cancel(lease.job.id, who="ann")

        job = end(ledger, lease)

        assert job == ledger.get(job.id)
        assert job.state is JobState.CANCELLED
        assert job.finished_at is not None
        assert ledger.claim(job.id, WORKER) is None

    def test_a_cancelled_job_whose_worker_died_is_cancelled(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        lease = claimed(ledger)
        ledger.cancel(lease.job.id, who="ann")
        let_pass(2 * MINUTE)

        (job,) = ledger.expire()

        assert job == ledger.get(lease.job.id)
        assert job.state is JobState.CANCELLED

    def test_a_result_that_is_there_already_is_announced(self, ledger: Ledger) -> None:
        lease = claimed(ledger)
        ledger.cancel(lease.job.id, who="ann")

        assert completed(ledger, lease).state is JobState.SUCCEEDED

    def test_what_is_final_stays(self, ledger: Ledger) -> None:
        done = completed(ledger, claimed(ledger))

        assert ledger.cancel(done.id, who="ann") == done
        assert ledger.get(done.id) == done

    def test_a_dead_letter_stays(self, ledger: Ledger) -> None:
        dead = failed(ledger)

        assert ledger.cancel(dead.id, who="ann") == dead

    @pytest.mark.parametrize("running", [False, True])
    def test_cancelling_again_changes_nothing(self, ledger: Ledger, *, running: bool) -> None:
        job = submitted(ledger)
        if running:
            claimed(ledger, job)
        first = ledger.cancel(job.id, who="ann")
        moves = ledger.history(job.id)

        assert ledger.cancel(job.id, who="bob") == first
        assert ledger.history(job.id) == moves

    def test_an_unknown_job_cannot_be_cancelled(self, ledger: Ledger) -> None:
        with pytest.raises(JobNotFound, match=str(UNKNOWN)):
            ledger.cancel(UNKNOWN, who="ann")

    def test_a_worker_may_give_a_job_up_of_its_own(self, ledger: Ledger) -> None:
        lease = claimed(ledger)

        job = ledger.confirm_cancel(lease)

        last = ledger.history(job.id)[-1]
        assert job.state is JobState.CANCELLED
        assert (last.who, last.why) == (lease.holder, "cancelled by its worker")

    def test_a_stale_attempt_does_not_confirm_the_cancel_of_its_successor(
        self, ledger: Ledger
    ) -> None:
        stale = claimed(ledger)
        ledger.hand_back(stale, why="drain")
        fresh = claimed(ledger, stale.job, by=OTHER)
        asked = ledger.cancel(fresh.job.id, who="ann")

        with pytest.raises(LeaseLost):
            ledger.confirm_cancel(stale)

        assert ledger.get(fresh.job.id) == asked
