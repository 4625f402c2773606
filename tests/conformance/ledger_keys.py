"""Submitting: which job a key means."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from jobs.errors import IdempotencyConflict, ModelNotServed
from jobs.ledger import JobFilter, Ledger, Submitted
from jobs.model import MAX_SEED, Job, NewJob, OutputFormat, Priority
from jobs.states import JobState
from tests.conformance.scenes import (
    DIGEST,
    HOUR,
    MINUTE,
    QUEUE,
    LetPass,
    accepted,
    asked,
    at_once,
    claimed,
    completed,
    failed,
    new,
    outcome,
    submitted,
)


class KeyConformance:
    def test_a_submitted_job_is_found_as_it_was_handed_in(self, ledger: Ledger) -> None:
        request = asked(
            "把背景换成纯白色",
            pictures=(DIGEST, "b" * 64),
            profile="fast",
            seed=MAX_SEED,
            steps=12,
            true_cfg_scale=2.5,
            negative="blurred",
            size="640x480",
        )
        one = NewJob(
            request=request,
            tenant="acme",
            batch="spring",
            priority=Priority.INTERACTIVE,
            metadata={"sku": "1-衫"},
            max_failures=7,
            run_limit=HOUR,
        )

        job = ledger.get(submitted(ledger, one).id)

        assert (job.state, job.queue, job.request) == (JobState.QUEUED, QUEUE, request)
        assert (job.tenant, job.batch, job.priority) == ("acme", "spring", Priority.INTERACTIVE)
        assert (job.metadata, job.max_failures, job.run_limit) == ({"sku": "1-衫"}, 7, HOUR)
        assert (job.attempt, job.failures, job.progress) == (0, 0, 0.0)
        assert (job.result, job.failure, job.holder, job.started_at) == (None, None, None, None)

    def test_nothing_submitted_is_nothing(self, ledger: Ledger) -> None:
        assert ledger.submit([]) == []

    def test_the_same_key_and_request_are_the_same_job(self, ledger: Ledger) -> None:
        first = accepted(ledger, new(idempotency_key="k"))
        again = accepted(ledger, new(idempotency_key="k", priority=Priority.BULK))

        assert first.created
        assert again == Submitted(job=first.job, created=False)

    def test_a_key_keeps_its_job_even_when_that_failed(self, ledger: Ledger) -> None:
        dead = failed(ledger, new(idempotency_key="k"))

        assert accepted(ledger, new(idempotency_key="k")) == Submitted(job=dead, created=False)

    def test_a_key_belongs_to_one_tenant(self, ledger: Ledger) -> None:
        mine = accepted(ledger, new(idempotency_key="k", tenant="a"))
        yours = accepted(ledger, new("make it blue", idempotency_key="k", tenant="b"))

        assert mine.created
        assert yours.created

    def test_a_key_with_another_request_is_refused(self, ledger: Ledger) -> None:
        job = submitted(ledger, new(idempotency_key="k"))

        refused = outcome(ledger, new("make it blue", idempotency_key="k"))

        assert isinstance(refused, IdempotencyConflict)
        assert str(job.id) in str(refused)
        assert ledger.get(job.id) == job

    @pytest.mark.parametrize(
        "choice", [{"seed": 5}, {"format": OutputFormat.WEBP}, {"size": "source"}]
    )
    def test_every_choice_belongs_to_the_request(
        self, ledger: Ledger, choice: dict[str, Any]
    ) -> None:
        submitted(ledger, new(idempotency_key="k"))

        refused = outcome(ledger, NewJob(request=asked(**choice), idempotency_key="k"))

        assert isinstance(refused, IdempotencyConflict)

    def test_one_refusal_harms_no_other_of_the_batch(self, ledger: Ledger) -> None:
        submitted(ledger, new(idempotency_key="taken"))
        stranger = NewJob(request=asked(model="stranger"))

        outcomes = ledger.submit(
            [
                new("first", idempotency_key="1"),
                new("other", idempotency_key="taken"),
                stranger,
                new("last", idempotency_key="2"),
            ]
        )

        kinds = [type(one) for one in outcomes]
        assert kinds == [Submitted, IdempotencyConflict, ModelNotServed, Submitted]
        assert ledger.counts(JobFilter()) == {JobState.QUEUED: 3}

    def test_a_key_twice_in_one_call_is_one_job(self, ledger: Ledger) -> None:
        first, twin, other = ledger.submit(
            [
                new(idempotency_key="k"),
                new(idempotency_key="k"),
                new("make it blue", idempotency_key="k"),
            ]
        )

        assert isinstance(first, Submitted)
        assert first.created
        assert twin == Submitted(job=first.job, created=False)
        assert isinstance(other, IdempotencyConflict)

    def test_twenty_submits_of_one_key_at_once_make_one_job(self, ledger: Ledger) -> None:
        submit = partial(accepted, ledger, new(idempotency_key="k"))

        outcomes = at_once([submit] * 20)

        assert [one.created for one in outcomes].count(True) == 1
        assert len({one.job.id for one in outcomes}) == 1

    def test_batches_that_overlap_in_another_order_both_get_through(self, ledger: Ledger) -> None:
        batch = [new(f"edit {number}") for number in range(40)]

        for _ in range(3):
            there, back = at_once(
                [partial(ledger.submit, batch), partial(ledger.submit, batch[::-1])]
            )
            ids = [_job_of(one).id for one in there]
            assert ids == [_job_of(one).id for one in reversed(back)]
            for job_id in ids:
                ledger.cancel(job_id, who="test")

    def test_the_same_content_without_a_key_is_the_same_job(self, ledger: Ledger) -> None:
        first = submitted(ledger)

        assert accepted(ledger, new()) == Submitted(job=first, created=False)
        assert accepted(ledger, new("make it blue")).created
        assert accepted(ledger, new(tenant="b")).created

    def test_a_derived_key_finds_a_running_job(self, ledger: Ledger) -> None:
        lease = claimed(ledger)

        assert accepted(ledger, new()) == Submitted(job=lease.job, created=False)

    def test_a_derived_key_finds_a_result(self, ledger: Ledger) -> None:
        done = completed(ledger, claimed(ledger))

        assert accepted(ledger, new()) == Submitted(job=done, created=False)

    def test_a_derived_key_finds_a_result_that_a_cancel_came_too_late_for(
        self, ledger: Ledger
    ) -> None:
        lease = claimed(ledger)
        ledger.cancel(lease.job.id, who="ann")
        done = completed(ledger, lease)

        assert accepted(ledger, new()) == Submitted(job=done, created=False)

    def test_a_derived_key_takes_no_notice_of_a_dead_letter(self, ledger: Ledger) -> None:
        dead = failed(ledger)

        fresh = accepted(ledger, new())

        assert fresh.created
        assert fresh.job.idempotency_key == dead.idempotency_key
        assert accepted(ledger, new()) == Submitted(job=fresh.job, created=False)
        assert ledger.get(dead.id) == dead

    def test_a_job_that_takes_a_key_over_keeps_its_place_in_its_submission(
        self, ledger: Ledger
    ) -> None:
        ledger.cancel(submitted(ledger).id, who="ann")

        made = ledger.submit([new("blue"), new(), new("green")])

        ids = [one.job.id for one in made if isinstance(one, Submitted) and one.created]
        assert len(ids) == 3
        assert ids == sorted(ids)

    @pytest.mark.parametrize("running", [False, True])
    def test_a_derived_key_takes_no_notice_of_a_cancelled_job(
        self, ledger: Ledger, *, running: bool
    ) -> None:
        job = submitted(ledger)
        if running:
            claimed(ledger, job)
        ledger.cancel(job.id, who="ann")

        assert accepted(ledger, new()).created

    def test_a_derived_key_takes_no_notice_of_an_expired_result(
        self, ledger: Ledger, let_pass: LetPass
    ) -> None:
        job = submitted(ledger, new(keep_for=HOUR))
        completed(ledger, claimed(ledger, job))
        let_pass(HOUR - MINUTE)
        kept = accepted(ledger, new())
        let_pass(2 * MINUTE)

        assert not kept.created
        assert accepted(ledger, new()).created

    def test_a_chosen_key_is_never_taken_for_a_derived_one(self, ledger: Ledger) -> None:
        submitted(ledger, new(idempotency_key="k"))

        assert accepted(ledger, new()).created

    def test_a_salt_makes_another_job(self, ledger: Ledger) -> None:
        first = submitted(ledger)
        salted = accepted(ledger, new(salt="2026-01-01"))

        assert salted.created
        assert salted.job.id != first.id
        assert salted.job.request.seed != first.request.seed
        assert accepted(ledger, new(salt="2026-01-01")).job == salted.job

    def test_a_salt_may_be_long(self, ledger: Ledger) -> None:
        assert accepted(ledger, new(salt="salt" * 10_000)).created

    def test_a_seed_comes_from_the_content(self, ledger: Ledger) -> None:
        job = submitted(ledger)
        twin = submitted(ledger, new(tenant="b"))
        other = submitted(ledger, new("make it blue"))

        assert job.request.seed is not None
        assert 0 <= job.request.seed <= MAX_SEED
        assert twin.request.seed == job.request.seed
        assert other.request.seed != job.request.seed

    def test_a_chosen_seed_is_kept(self, ledger: Ledger) -> None:
        job = submitted(ledger, NewJob(request=asked(seed=0)))

        assert ledger.get(job.id).request.seed == 0

    def test_a_thousand_jobs_are_one_call(self, ledger: Ledger) -> None:
        outcomes = ledger.submit([new(f"edit {number}") for number in range(1_000)])

        ids = [_job_of(one).id for one in outcomes]
        assert ids == sorted(set(ids))
        assert ledger.counts(JobFilter()) == {JobState.QUEUED: 1_000}


def _job_of(outcome: object) -> Job:
    assert isinstance(outcome, Submitted)
    return outcome.job
