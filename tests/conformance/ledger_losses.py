"""A worker whose process was seen to end: its jobs need not wait for the lease."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.errors import FailureClass, LeaseLost
from jobs.ledger import SECOND_LOSS, Ledger
from jobs.model import Job, JobId
from jobs.states import JobState
from tests.conformance.scenes import (
    MINUTE,
    OTHER,
    WORKER,
    LetPass,
    claimed,
    completed,
    holding,
    new,
    renewed,
    submitted,
)

WHY = "killed by SIGKILL"


def lost(ledger: Ledger) -> dict[JobId, Job]:
    return {job.id: job for job in ledger.lose_worker(WORKER.id, why=WHY)}


class LossConformance:
    def test_what_a_dead_worker_held_runs_again_at_once_and_counts_a_loss(
        self, ledger: Ledger
    ) -> None:
        lease = claimed(ledger)

        (job,) = ledger.lose_worker(WORKER.id, why=WHY)

        assert job == ledger.get(job.id)
        assert (job.state, job.failures, job.holder) == (JobState.QUEUED, 1, None)
        assert (job.not_before, job.dispatched_at) == (None, None)
        assert job.failure is not None
        assert (job.failure.failure_class, job.failure.code) == (FailureClass.LOST, "worker_lost")
        assert job.failure.message == f"the process of {WORKER.holder} ended: {WHY}"
        assert claimed(ledger, job, by=OTHER).attempt == lease.attempt + 1

    def test_the_loss_of_a_worker_harms_no_other_worker(self, ledger: Ledger) -> None:
        theirs = claimed(ledger, by=OTHER)
        done = completed(ledger, claimed(ledger, submitted(ledger, new("make it blue"))))

        assert lost(ledger) == {}
        assert ledger.get(theirs.job.id) == theirs.job
        assert ledger.get(done.id) == done

    def test_a_dead_workers_writes_are_refused(self, ledger: Ledger) -> None:
        lease = claimed(ledger)
        lost(ledger)

        with pytest.raises(LeaseLost):
            completed(ledger, lease)

    def test_a_worker_is_lost_once(self, ledger: Ledger) -> None:
        job = submitted(ledger)
        claimed(ledger, job)

        assert (len(lost(ledger)), len(lost(ledger))) == (1, 0)
        assert ledger.get(job.id).failures == 1

    def test_the_same_card_in_a_new_process_loses_nothing(self, ledger: Ledger) -> None:
        """Its process has the card and may have the pid, but not the id of the dead one."""
        successor = replace(OTHER, holder=WORKER.holder, card=WORKER.card)
        ledger.register(successor)
        lease = claimed(ledger, by=successor)

        assert lost(ledger) == {}
        assert completed(ledger, lease).state is JobState.SUCCEEDED

    def test_a_lost_worker_is_alive_no_more(self, ledger: Ledger) -> None:
        lost(ledger)

        assert ledger.live_workers() == []

    def test_losing_workers_is_bounded_by_the_budget(self, ledger: Ledger) -> None:
        job = submitted(ledger, new(max_failures=2))
        for _ in range(2):
            claimed(ledger, job)
            lost(ledger)

        assert ledger.get(job.id).state is JobState.FAILED

    def test_a_job_that_was_to_be_cancelled_is_cancelled(self, ledger: Ledger) -> None:
        lease = claimed(ledger)
        ledger.cancel(lease.job.id, who="ann")

        assert lost(ledger)[lease.job.id].state is JobState.CANCELLED

    def test_who_was_on_the_card_at_a_second_loss_waits_while_the_others_run(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        suspect, beside = submitted(ledger, new("suspect")), submitted(ledger, new("beside"))
        jobs: dict[JobId, Job] = {}
        for _ in range(2):
            on_card = claimed(ledger, suspect)
            claimed(ledger, beside)
            ledger.renew(WORKER.id, [holding(on_card, 1, 4)], lease=MINUTE)
            jobs = lost(ledger)

        assert jobs[suspect.id].not_before is not None
        assert jobs[beside.id].not_before is None
        assert ledger.claim(suspect.id, OTHER) is None
        assert ledger.claim(beside.id, OTHER) is not None
        let_pass(2 * SECOND_LOSS)
        assert ledger.claim(suspect.id, OTHER) is not None

    def test_who_was_off_the_card_again_waits_for_nothing(self, ledger: Ledger) -> None:
        job = submitted(ledger)
        for _ in range(2):
            lease = claimed(ledger, job)
            ledger.renew(WORKER.id, [holding(lease, 4, 4)], lease=MINUTE)
            lost(ledger)

        again = claimed(ledger, job)
        assert (again.attempt, again.job.failures) == (3, 2)
        assert renewed(ledger, again) is not None
