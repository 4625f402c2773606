"""Claiming, and the fence before every write of an attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from jobs.errors import LeaseLost
from jobs.ledger import Ledger
from jobs.model import Lease, Order
from jobs.states import JobState
from tests.conformance.scenes import (
    LIGHTNING,
    MINUTE,
    OTHER,
    SECOND,
    TIMINGS,
    UNKNOWN,
    WORKER,
    LetPass,
    at_once,
    claimed,
    completed,
    failure,
    holding,
    new,
    renewed,
    result,
    submitted,
    superseded_lease,
    worker,
)

#: Every write that an attempt can make, by name.
WRITES: dict[str, Callable[[Ledger, Lease], Any]] = {
    "complete": completed,
    "fail": lambda ledger, lease: ledger.fail(lease, failure()),
    "hand_back": lambda ledger, lease: ledger.hand_back(lease, why="drain"),
    "confirm_cancel": lambda ledger, lease: ledger.confirm_cancel(lease),
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


class AttemptConformance:
    def test_a_claim_starts_an_attempt(self, ledger: Ledger) -> None:
        lease = claimed(ledger, by=worker("gpu-9", release="sha256:1"))

        job = ledger.get(lease.job.id)
        assert lease.job == job
        assert (lease.attempt, lease.holder) == (1, "host/gpu-9/1")
        assert (job.state, job.attempt, job.failures) == (JobState.RUNNING, 1, 0)
        assert (job.holder, job.release) == ("host/gpu-9/1", "sha256:1")
        assert job.lease_expires_at == (job.started_at or job.created_at) + MINUTE

    def test_a_redelivered_message_claims_nothing(self, ledger: Ledger) -> None:
        lease = claimed(ledger)

        assert ledger.claim(lease.job.id, WORKER) is None
        assert ledger.claim(lease.job.id, OTHER) is None
        assert ledger.get(lease.job.id) == lease.job

    def test_a_message_after_the_end_claims_nothing(self, ledger: Ledger) -> None:
        job = completed(ledger, claimed(ledger))

        assert ledger.claim(job.id, WORKER) is None
        assert ledger.claim_next(WORKER) is None

    def test_a_message_of_an_unknown_job_claims_nothing(self, ledger: Ledger) -> None:
        assert ledger.claim(UNKNOWN, WORKER) is None

    def test_five_claims_at_once_give_one_lease(self, ledger: Ledger) -> None:
        job = submitted(ledger)

        leases = at_once(
            [partial(ledger.claim, job.id, worker(f"gpu-{number}")) for number in range(5)]
        )

        won = [lease for lease in leases if lease]
        assert [lease.attempt for lease in won] == [1]
        assert ledger.get(job.id).holder == won[0].holder

    def test_five_workers_that_take_the_next_job_at_once_take_five(self, ledger: Ledger) -> None:
        ids = {submitted(ledger, new(f"edit {number}")).id for number in range(5)}

        leases = at_once(
            [partial(ledger.claim_next, worker(f"gpu-{number}")) for number in range(5)]
        )

        assert {lease.job.id for lease in leases if lease} == ids

    def test_a_result_is_announced(self, ledger: Ledger) -> None:
        lease = claimed(ledger)

        job = completed(ledger, lease)

        assert job == ledger.get(job.id)
        assert (job.state, job.result, job.progress) == (JobState.SUCCEEDED, result(lease), 1.0)
        assert (job.holder, job.lease_expires_at, job.failure) == (None, None, None)
        assert job.finished_at is not None

    def test_a_result_is_kept_as_long_as_was_asked(self, ledger: Ledger) -> None:
        kept = completed(ledger, claimed(ledger, submitted(ledger, new(keep_for=MINUTE))))
        for_ever = completed(ledger, claimed(ledger, submitted(ledger, new("make it blue"))))

        assert kept.finished_at is not None
        assert kept.expires_at == kept.finished_at + MINUTE
        assert for_ever.expires_at is None

    def test_completed_twice_by_one_attempt_is_true_once(self, ledger: Ledger) -> None:
        lease = claimed(ledger)
        first = completed(ledger, lease)

        again = completed(ledger, lease)

        assert again == first
        assert [move.to_state for move in ledger.history(first.id)].count(JobState.SUCCEEDED) == 1

    def test_an_announced_result_never_changes(self, ledger: Ledger) -> None:
        lease = claimed(ledger)
        job = completed(ledger, lease)

        with pytest.raises(LeaseLost):
            ledger.complete(lease, result(lease, "other"), timings={})

        assert ledger.get(job.id) == job

    @every_write
    def test_a_stale_attempt_cannot_write(
        self, ledger: Ledger, write: Callable[[Ledger, Lease], Any]
    ) -> None:
        stale, fresh = superseded_lease(ledger)

        with pytest.raises(LeaseLost):
            write(ledger, stale)

        assert ledger.get(fresh.job.id) == fresh.job

    @every_write
    def test_a_stale_attempt_cannot_write_once_its_successor_is_done(
        self, ledger: Ledger, write: Callable[[Ledger, Lease], Any]
    ) -> None:
        stale, fresh = superseded_lease(ledger)
        job = completed(ledger, fresh)

        with pytest.raises(LeaseLost):
            write(ledger, stale)

        assert ledger.get(job.id) == job

    @every_write
    @pytest.mark.parametrize("end", [*WRITES.values()][1:], ids=[*WRITES][1:])
    def test_an_attempt_ends_once(
        self,
        ledger: Ledger,
        end: Callable[[Ledger, Lease], Any],
        write: Callable[[Ledger, Lease], Any],
    ) -> None:
        lease = claimed(ledger)
        end(ledger, lease)
        job = ledger.get(lease.job.id)

        with pytest.raises(LeaseLost):
            write(ledger, lease)

        assert ledger.get(job.id) == job

    @every_write
    def test_nobody_writes_to_a_lost_lease(
        self, ledger: Ledger, let_pass: LetPass, write: Callable[[Ledger, Lease], Any]
    ) -> None:
        lease = claimed(ledger)
        let_pass(2 * MINUTE)
        (lost,) = ledger.expire()

        with pytest.raises(LeaseLost):
            write(ledger, lease)

        assert ledger.get(lease.job.id) == lost

    def test_an_attempt_that_nobody_missed_may_still_complete(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        lease = claimed(ledger)
        let_pass(2 * MINUTE)

        assert completed(ledger, lease).state is JobState.SUCCEEDED

    def test_two_ends_at_once_are_one(self, ledger: Ledger) -> None:
        lease = claimed(ledger)

        def end(write: Callable[[Ledger, Lease], Any]) -> bool:
            try:
                write(ledger, lease)
            except LeaseLost:
                return False
            return True

        ended = at_once([partial(end, write) for write in WRITES.values()])

        assert ended.count(True) == 1
        assert len(ledger.history(lease.job.id)) == 3

    def test_an_attempt_says_when_the_job_first_started(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        first = claimed(ledger)
        let_pass(SECOND)
        ledger.hand_back(first, why="drain")
        second = claimed(ledger, first.job)

        assert second.attempt == 2
        assert second.job.started_at is not None
        assert second.job.lease_expires_at is not None
        assert second.job.started_at + SECOND <= second.job.lease_expires_at - MINUTE

    def test_a_worker_claims_from_its_own_queue_alone(self, ledger: Ledger) -> None:
        job = submitted(ledger)
        elsewhere = worker("gpu-3", model=LIGHTNING)
        ledger.register(elsewhere)

        assert ledger.claim(job.id, elsewhere) is None
        assert ledger.claim_next(elsewhere) is None
        assert ledger.claim_next(WORKER) is not None

    def test_a_worker_leaves_the_profiles_that_it_lacks_to_others(self, ledger: Ledger) -> None:
        job = submitted(ledger)
        others = tuple(one for one in WORKER.model.profiles if one != job.request.profile)
        narrow = worker("gpu-4", model=replace(WORKER.model, revision="r-old", profiles=others))
        ledger.register(narrow)

        assert ledger.claim(job.id, narrow) is None
        assert ledger.claim_next(narrow) is None
        assert ledger.claim_next(WORKER) is not None

    def test_progress_starts_again_with_each_attempt(self, ledger: Ledger) -> None:
        first = claimed(ledger)
        assert ledger.renew(WORKER.id, [holding(first, 3, 4)])[first.job.id] is Order.CONTINUE
        requeued = ledger.hand_back(first, why="drain")
        second = claimed(ledger, requeued)

        assert requeued.progress == 0.0
        assert second.job.progress == 0.0
        assert renewed(ledger, first) is Order.LOST

    def test_stage_times_are_no_business_of_the_result(self, ledger: Ledger) -> None:
        lease = claimed(ledger)

        job = ledger.complete(lease, result(lease), timings={})

        assert ledger.complete(lease, result(lease), timings=TIMINGS) == job
