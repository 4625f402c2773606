"""What stays of a job: every move, and every attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from jobs.errors import FailureClass
from jobs.ledger import Ledger
from jobs.model import Failure, JobId
from jobs.states import JobState
from jobs.testing import AttemptRecord
from tests.conformance.scenes import (
    MINUTE,
    OTHER,
    TIMINGS,
    UNKNOWN,
    WORKER,
    LetPass,
    claimed,
    completed,
    failure,
    new,
    submitted,
    worker,
)

ReadAttempts = Callable[[JobId], Sequence[AttemptRecord]]
RECORD = AttemptRecord(
    number=1, holder=WORKER.holder, card="gpu-1", model_revision="r1", release=None
)


class RecordConformance:
    def test_every_move_is_in_the_history(self, ledger: Ledger, let_pass: LetPass) -> None:
        job = submitted(ledger)
        ledger.fail(claimed(ledger, job), failure())
        claimed(ledger, job, by=OTHER)
        let_pass(2 * MINUTE)
        ledger.expire()
        ledger.hand_back(claimed(ledger, job), why="drain")
        completed(ledger, claimed(ledger, job, by=OTHER))

        moves = ledger.history(job.id)

        one, two = WORKER.holder, OTHER.holder
        queued, running, done = JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED
        assert [(move.from_state, move.to_state) for move in moves] == [
            (None, queued),
            *[(queued, running), (running, queued)] * 3,
            (queued, running),
            (running, done),
        ]
        assert [(move.who, move.attempt, move.why) for move in moves] == [
            ("producer", 0, "submitted"),
            (one, 1, "claimed"),
            (one, 1, "transient: oops"),
            (two, 2, "claimed"),
            ("reconciler", 2, "lease expired"),
            (one, 3, "claimed"),
            (one, 3, "drain"),
            (two, 4, "claimed"),
            (two, 4, "completed"),
        ]
        assert {move.job_id for move in moves} == {job.id}

    def test_moves_are_in_the_order_of_time(self, ledger: Ledger) -> None:
        job = completed(ledger, claimed(ledger))

        times = [move.at for move in ledger.history(job.id)]

        assert times == sorted(times)
        assert times[-1] == job.finished_at

    def test_an_unknown_job_has_no_history(self, ledger: Ledger) -> None:
        assert list(ledger.history(UNKNOWN)) == []

    def test_what_moves_nothing_is_not_in_the_history(self, ledger: Ledger) -> None:
        lease = claimed(ledger)
        before = ledger.history(lease.job.id)

        ledger.claim(lease.job.id, OTHER)
        ledger.renew(WORKER.id, [])
        ledger.cancel(lease.job.id, who="ann")

        assert ledger.history(lease.job.id) == before

    def test_an_attempt_records_what_ran_where(
        self, ledger: Ledger, read_attempts: ReadAttempts
    ) -> None:
        released = worker("gpu-7", release="sha256:1")
        ledger.register(released)
        lease = claimed(ledger, by=released)
        completed(ledger, lease)

        assert list(read_attempts(lease.job.id)) == [
            AttemptRecord(
                number=1,
                holder="host/gpu-7/1",
                card="gpu-7",
                model_revision="r1",
                release="sha256:1",
                outcome=JobState.SUCCEEDED,
                timings=TIMINGS,
            )
        ]

    def test_each_attempt_records_its_own_end(
        self, ledger: Ledger, read_attempts: ReadAttempts, let_pass: LetPass
    ) -> None:
        job = submitted(ledger, new(max_failures=9))
        ledger.fail(claimed(ledger, job), failure(FailureClass.RESOURCE))
        ledger.hand_back(claimed(ledger, job), why="drain")
        claimed(ledger, job)
        let_pass(2 * MINUTE)
        ledger.expire()
        claimed(ledger, job)

        lost = Failure(
            failure_class=FailureClass.LOST,
            code="lease_expired",
            message=f"the lease of {WORKER.holder} ran out",
        )
        queued = replace(RECORD, outcome=JobState.QUEUED)
        assert list(read_attempts(job.id)) == [
            replace(queued, failure=failure(FailureClass.RESOURCE)),
            replace(queued, number=2),
            replace(queued, number=3, failure=lost),
            replace(RECORD, number=4),
        ]
