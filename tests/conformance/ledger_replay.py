"""Replaying what failed: a new job takes the key over, and the old one stays as it ended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from jobs.errors import FailureClass, IdempotencyConflict, JobNotFound, JobsError, NotReplayable
from jobs.ledger import JobFilter, Ledger, Submitted
from jobs.model import Job, JobId, NewJob, Priority
from jobs.states import JobState
from tests.conformance.scenes import (
    DIGEST,
    HOUR,
    LIGHTNING,
    MINUTE,
    UNKNOWN,
    WORKER,
    LetPass,
    accepted,
    asked,
    at_once,
    claimed,
    completed,
    failed,
    failure,
    new,
    outcome,
    submitted,
    worker,
)


def replayed(
    ledger: Ledger, *jobs: Job | JobId, who: str = "ann"
) -> Sequence[Submitted | JobsError]:
    """Their pictures are kept."""
    for tenant in ("default", "a", "b"):
        ledger.record_input(tenant, DIGEST, size=1, media_type="image/png")
    return ledger.replay([one.id if isinstance(one, Job) else one for one in jobs], who=who)


def replay_of(ledger: Ledger, dead: Job) -> Job:
    (found,) = replayed(ledger, dead)
    assert isinstance(found, Submitted), found
    assert found.created
    return found.job


class ReplayConformance:
    def test_a_replay_is_a_new_job_of_the_same_request(self, ledger: Ledger) -> None:
        one = NewJob(
            request=asked(steps=7),
            tenant="a",
            batch="spring",
            priority=Priority.BULK,
            metadata={"sku": "7"},
            max_failures=2,
            run_limit=HOUR,
        )
        dead = failed(ledger, one)

        fresh = replay_of(ledger, dead)

        assert fresh == ledger.get(fresh.id)
        assert (fresh.state, fresh.attempt, fresh.failures) == (JobState.QUEUED, 0, 0)
        assert (fresh.replay_of, fresh.failure, fresh.finished_at) == (dead.id, None, None)
        same = ("tenant", "request", "queue", "batch", "priority", "metadata", "max_failures")
        for name in (*same, "run_limit", "idempotency_key"):
            assert getattr(fresh, name) == getattr(dead, name), name

    def test_what_is_final_stays_final(self, ledger: Ledger) -> None:
        dead = failed(ledger)
        moves = ledger.history(dead.id)

        replay_of(ledger, dead)

        assert ledger.get(dead.id) == dead
        assert ledger.history(dead.id) == moves

    def test_a_replay_runs_like_any_job(self, ledger: Ledger) -> None:
        fresh = replay_of(ledger, failed(ledger))

        done = completed(ledger, claimed(ledger, fresh))

        assert (done.state, done.attempt, done.replay_of is None) == (JobState.SUCCEEDED, 1, False)

    def test_the_audit_says_who_replayed_what(self, ledger: Ledger) -> None:
        dead = failed(ledger)
        fresh = replay_of(ledger, dead)

        (first,) = ledger.history(fresh.id)

        assert (first.who, first.why) == ("ann", f"replay of {dead.id}")

    def test_a_chosen_key_leads_to_the_replay(self, ledger: Ledger) -> None:
        fresh = replay_of(ledger, failed(ledger, new(idempotency_key="k")))

        again = accepted(ledger, new(idempotency_key="k"))
        other = outcome(ledger, new("make it blue", idempotency_key="k"))

        assert again == Submitted(job=fresh, created=False)
        assert isinstance(other, IdempotencyConflict)

    def test_a_derived_key_leads_to_the_replay(self, ledger: Ledger) -> None:
        fresh = replay_of(ledger, failed(ledger))

        assert accepted(ledger, new()) == Submitted(job=fresh, created=False)

    def test_replaying_twice_gives_the_same_job(self, ledger: Ledger) -> None:
        dead = failed(ledger)
        fresh = replay_of(ledger, dead)

        assert replayed(ledger, dead) == [Submitted(job=fresh, created=False)]
        assert len(ledger.list(JobFilter())) == 2

    def test_ten_replays_at_once_make_one_job(self, ledger: Ledger) -> None:
        dead = failed(ledger)
        ledger.record_input("default", DIGEST, size=1, media_type="image/png")

        found = at_once([partial(ledger.replay, [dead.id], who="ann")] * 10)

        outcomes = [one for (one,) in found if isinstance(one, Submitted)]
        assert [one.created for one in outcomes].count(True) == 1
        assert len({one.job.id for one in outcomes}) == 1

    def test_what_was_submitted_anew_meanwhile_is_the_replay(self, ledger: Ledger) -> None:
        dead = failed(ledger)
        fresh = submitted(ledger)

        assert fresh.id != dead.id
        assert replayed(ledger, dead) == [Submitted(job=fresh, created=False)]

    def test_a_replay_that_failed_is_replayed_itself(self, ledger: Ledger) -> None:
        first = failed(ledger, new(idempotency_key="k"))
        second = replay_of(ledger, first)
        ledger.fail(claimed(ledger, second), failure(FailureClass.PERMANENT))

        before, third = replayed(ledger, first, second)

        assert isinstance(third, Submitted)
        assert third.created
        assert third.job.replay_of == second.id
        assert before == Submitted(job=third.job, created=False)

    def test_a_cancelled_job_may_be_replayed(self, ledger: Ledger) -> None:
        gone = ledger.cancel(submitted(ledger, new(idempotency_key="k")).id, who="bob")

        assert replay_of(ledger, gone).cancel_requested_at is None

    def test_what_runs_waits_or_succeeded_is_not_replayed(self, ledger: Ledger) -> None:
        done = completed(ledger, claimed(ledger))
        running = claimed(ledger, submitted(ledger, new("make it blue"))).job
        waiting = submitted(ledger, new("make it green"))
        dead = failed(ledger, new("make it grey"))

        *refused, unknown, fresh = replayed(ledger, done, running, waiting, UNKNOWN, dead)

        assert [type(one) for one in refused] == [NotReplayable] * 3
        assert [str(one).split(":")[0] for one in refused if isinstance(one, JobsError)] == [
            f"job {done.id} is succeeded",
            f"job {running.id} is running",
            f"job {waiting.id} is queued",
        ]
        assert isinstance(unknown, JobNotFound)
        assert isinstance(fresh, Submitted)
        assert ledger.replay([], who="ann") == []

    def test_a_job_whose_picture_is_gone_is_not_replayed(self, ledger: Ledger) -> None:
        dead = failed(ledger)

        (refused,) = ledger.replay([dead.id], who="ann")

        assert isinstance(refused, NotReplayable)
        assert "submit it again" in str(refused)
        assert ledger.list(JobFilter()) == [dead]

    def test_a_replay_goes_where_its_model_is_served_now(self, ledger: Ledger) -> None:
        stranded = submitted(ledger, NewJob(request=asked(profile="turbo"), wait_for_model=True))
        dead = ledger.cancel(stranded.id, who="bob")
        ledger.register(worker("gpu-3", model=LIGHTNING))

        assert replay_of(ledger, dead).queue == LIGHTNING.queue

    def test_a_start_deadline_counts_from_the_replay(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        job = submitted(ledger, new(start_within=MINUTE))
        let_pass(HOUR)
        (dead,) = ledger.expire()

        fresh = replay_of(ledger, dead)

        assert dead.id == job.id
        assert fresh.start_by is not None
        assert fresh.start_by - fresh.created_at == MINUTE
        assert ledger.claim(fresh.id, WORKER) is not None

    def test_dead_letters_are_found_by_class_and_code(self, ledger: Ledger) -> None:
        permanent = failed(ledger)
        lease = claimed(ledger, submitted(ledger, new("two", max_failures=1)))
        resource = ledger.fail(lease, failure(FailureClass.RESOURCE))

        def found(**more: object) -> list[Job]:
            return ledger.list(JobFilter(state=JobState.FAILED, **more))  # type: ignore[arg-type]

        assert found(failure_class=FailureClass.RESOURCE) == [resource]
        assert found(failure_class=FailureClass.LOST) == []
        assert found(code="oops") == [resource, permanent]
        assert found(code="oops", failure_class=FailureClass.PERMANENT) == [permanent]
        assert found(code="other") == []

    def test_a_dead_letter_that_was_replayed_holds_no_key(self, ledger: Ledger) -> None:
        one, two = failed(ledger), failed(ledger, new("make it blue"))
        replay_of(ledger, one)

        assert ledger.list(JobFilter(state=JobState.FAILED, holds_key=True)) == [two]
        assert ledger.counts(JobFilter(state=JobState.FAILED, holds_key=True)) == {
            JobState.FAILED: 1
        }
        assert ledger.counts(JobFilter(state=JobState.FAILED)) == {JobState.FAILED: 2}
