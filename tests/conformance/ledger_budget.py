"""Failures are bounded, attempts are not; and when a job may start."""

from __future__ import annotations

import pytest

from jobs.errors import FailureClass
from jobs.ledger import Ledger
from jobs.model import Failure, Job
from jobs.states import JobState
from tests.conformance.scenes import (
    MINUTE,
    SECOND,
    WORKER,
    LetPass,
    claimed,
    completed,
    failure,
    new,
    renewed,
    submitted,
)

COUNTED = [FailureClass.TRANSIENT, FailureClass.RESOURCE, FailureClass.WORKER_FATAL]


class BudgetConformance:
    @pytest.mark.parametrize("failure_class", COUNTED)
    def test_a_failure_that_may_pass_is_tried_again(
        self, ledger: Ledger, failure_class: FailureClass
    ) -> None:
        lease = claimed(ledger)

        job = ledger.fail(lease, failure(failure_class))

        assert job == ledger.get(job.id)
        assert (job.state, job.attempt, job.failures) == (JobState.QUEUED, 1, 1)
        assert job.failure == failure(failure_class)
        assert (job.finished_at, job.holder, job.lease_expires_at) == (None, None, None)
        assert claimed(ledger, job).attempt == 2

    @pytest.mark.parametrize("failure_class", COUNTED)
    def test_the_budget_bounds_the_failures(
        self, ledger: Ledger, failure_class: FailureClass
    ) -> None:
        job = submitted(ledger, new(max_failures=3))

        states = []
        for _ in range(3):
            job = ledger.fail(claimed(ledger, job), failure(failure_class))
            states.append(job.state)

        assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
        assert (job.failures, job.failure) == (3, failure(failure_class))
        assert job.finished_at is not None
        assert ledger.claim(job.id, WORKER) is None

    def test_a_permanent_failure_is_the_end_at_once(self, ledger: Ledger) -> None:
        job = ledger.fail(claimed(ledger), failure(FailureClass.PERMANENT))

        assert (job.state, job.attempt, job.failures) == (JobState.FAILED, 1, 0)
        assert job.failure == failure(FailureClass.PERMANENT)
        assert job.finished_at is not None

    def test_losses_count_like_failures(self, ledger: Ledger, let_pass: LetPass) -> None:
        job = submitted(ledger, new(max_failures=2))
        ledger.fail(claimed(ledger, job), failure())
        claimed(ledger, job)
        let_pass(2 * MINUTE)

        (dead,) = ledger.expire()

        assert (dead.state, dead.failures) == (JobState.FAILED, 2)
        assert dead.failure is not None
        assert dead.failure.failure_class is FailureClass.LOST

    def test_handing_back_counts_nothing_however_often(self, ledger: Ledger) -> None:
        job = submitted(ledger, new(max_failures=1))

        for _ in range(10):
            job = ledger.hand_back(claimed(ledger, job), why="deploy")

        assert (job.state, job.attempt, job.failures) == (JobState.QUEUED, 10, 0)
        assert (job.finished_at, job.holder, job.lease_expires_at) == (None, None, None)
        assert completed(ledger, claimed(ledger, job)).attempt == 11

    def test_attempts_are_never_compared_with_the_budget(self, ledger: Ledger) -> None:
        job = submitted(ledger, new(max_failures=2))
        for _ in range(5):
            job = ledger.hand_back(claimed(ledger, job), why="deploy")

        job = ledger.fail(claimed(ledger, job), failure())

        assert (job.state, job.attempt, job.failures) == (JobState.QUEUED, 6, 1)

    def test_success_after_failures_shows_none(self, ledger: Ledger) -> None:
        job = ledger.fail(claimed(ledger), failure())

        running = claimed(ledger, job)
        done = completed(ledger, running)

        assert running.job.failure is None
        assert (done.failure, done.failures) == (None, 1)

    def test_a_retry_waits_as_long_as_it_was_told(self, ledger: Ledger, let_pass: LetPass) -> None:
        job = ledger.fail(claimed(ledger), failure(), retry_in=MINUTE)
        early = [ledger.claim(job.id, WORKER), ledger.claim_next(WORKER)]
        window = ledger.take_window(job.queue, size=5)
        let_pass(MINUTE + SECOND)

        assert early == [None, None]
        assert list(window) == []
        assert list(ledger.take_window(job.queue, size=5)) == [job.id]
        assert claimed(ledger, job).attempt == 2

    def test_a_failure_may_say_anything(self, ledger: Ledger) -> None:
        job = ledger.fail(claimed(ledger), failure(message="bad bytes: \x00 \udcff 衫"))

        found = _failure_of(ledger.get(job.id))
        assert found.message.startswith("bad bytes: ")
        assert found.message.endswith(" 衫")

    def test_a_job_that_starts_too_late_never_does(self, ledger: Ledger, let_pass: LetPass) -> None:
        job = submitted(ledger, new(start_within=MINUTE))
        let_pass(MINUTE + SECOND)
        nothing = [ledger.claim(job.id, WORKER), ledger.claim_next(WORKER)]
        window = ledger.take_window(job.queue, size=5)

        (late,) = ledger.expire()

        assert nothing == [None, None]
        assert list(window) == []
        assert late == ledger.get(job.id)
        assert (late.state, late.attempt, late.failures) == (JobState.FAILED, 0, 0)
        assert _failure_of(late).code == "start_deadline"
        assert late.finished_at is not None

    def test_a_job_that_starts_in_time_may_end_later(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        job = submitted(ledger, new(start_within=MINUTE))
        lease = claimed(ledger, job)
        let_pass(MINUTE + SECOND)
        renewed(ledger, lease)

        assert list(ledger.expire()) == []
        assert completed(ledger, lease).state is JobState.SUCCEEDED

    def test_a_deploy_after_the_deadline_costs_a_started_job_nothing(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        job = submitted(ledger, new(start_within=MINUTE))
        lease = claimed(ledger, job)
        let_pass(MINUTE + SECOND)
        ledger.hand_back(lease, why="deploy")

        assert list(ledger.expire()) == []
        assert list(ledger.take_window(job.queue, size=5)) == [job.id]
        assert claimed(ledger, job).attempt == 2


def _failure_of(job: Job) -> Failure:
    assert job.failure is not None
    return job.failure
