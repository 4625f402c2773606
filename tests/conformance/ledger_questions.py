"""Asking: one job, many, lists, counts, places in the line, inputs."""

from __future__ import annotations

import pytest

from jobs.errors import FailureClass, JobNotFound
from jobs.ledger import JobFilter, Ledger
from jobs.model import NewJob, OutputFormat, Priority
from jobs.states import JobState
from tests.conformance.scenes import (
    DIGEST,
    HOUR,
    OTHER,
    SUSPICION,
    TIMINGS,
    UNKNOWN,
    WORKER,
    LetPass,
    all_submitted,
    asked,
    before,
    claimed,
    completed,
    failed,
    failure,
    new,
    several,
    submitted,
    suspect,
    worker,
)


class QuestionConformance:
    def test_an_unknown_job_is_not_found(self, ledger: Ledger) -> None:
        with pytest.raises(JobNotFound, match=str(UNKNOWN)):
            ledger.get(UNKNOWN)

    def test_many_come_in_the_order_they_were_asked_for(self, ledger: Ledger) -> None:
        one, two, three = all_submitted(ledger, several(3))

        found = ledger.get_many([three, UNKNOWN, one, two, one])

        assert [job.id for job in found] == [three, one, two, one]
        assert ledger.get_many([]) == []

    def test_a_list_is_newest_first_and_pages_back(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(5))

        first = [job.id for job in ledger.list(JobFilter(), limit=3)]
        rest = [job.id for job in ledger.list(JobFilter(before=first[-1]), limit=3)]

        assert first + rest == ids[::-1]

    def test_a_list_holds_what_was_asked_for(self, ledger: Ledger) -> None:
        plain, spring = all_submitted(ledger, [new("one", tenant="a"), new("two", batch="spring")])
        done = completed(ledger, claimed(ledger, submitted(ledger, new("three", tenant="a"))))

        assert [job.id for job in ledger.list(JobFilter(tenant="a"))] == [done.id, plain]
        assert [job.id for job in ledger.list(JobFilter(batch="spring"))] == [spring]
        assert ledger.list(JobFilter(state=JobState.SUCCEEDED)) == [done]
        assert ledger.list(JobFilter(tenant="a", state=JobState.FAILED)) == []

    def test_suspect_pictures_can_be_listed_and_counted(self, ledger: Ledger) -> None:
        submitted(ledger)
        completed(ledger, claimed(ledger, submitted(ledger, new("fine", tenant="a"))))
        failed(ledger, new("fail", tenant="a"))
        one = suspect(ledger, new("black", tenant="a", batch="spring"))
        two = suspect(ledger, new("flat", tenant="b"))

        assert one.result is not None
        assert one.result.suspect == SUSPICION
        assert ledger.list(JobFilter(suspect=True)) == [two, one]
        assert ledger.list(JobFilter(suspect=True, tenant="a")) == [one]
        assert ledger.list(JobFilter(suspect=True, batch="autumn")) == []
        assert ledger.list(JobFilter(suspect=True, state=JobState.FAILED)) == []
        assert ledger.list(JobFilter(suspect=True, before=two.id), limit=1) == [one]
        assert ledger.counts(JobFilter(suspect=True)) == {JobState.SUCCEEDED: 2}
        assert ledger.counts(JobFilter(suspect=True, tenant="b")) == {JobState.SUCCEEDED: 1}

    def test_a_request_comes_back_as_it_was_made(self, ledger: Ledger) -> None:
        choices = {"steps": 8, "size": "64x64", "format": OutputFormat.WEBP}
        made = asked("webp", **choices, quality=80, alpha=True, seed=7)

        assert submitted(ledger, NewJob(request=made)).request == made

    def test_jobs_are_counted_by_state(self, ledger: Ledger) -> None:
        all_submitted(ledger, several(2, tenant="a", batch="spring"))
        claimed(ledger, submitted(ledger, new("run", tenant="a")))
        failed(ledger, new("fail", tenant="b"))

        assert ledger.counts(JobFilter()) == {
            JobState.QUEUED: 2,
            JobState.RUNNING: 1,
            JobState.FAILED: 1,
        }
        assert ledger.counts(JobFilter(tenant="b")) == {JobState.FAILED: 1}
        assert ledger.counts(JobFilter(batch="spring")) == {JobState.QUEUED: 2}
        assert ledger.counts(JobFilter(tenant="nobody")) == {}

    def test_a_queued_job_has_a_place_in_the_line(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(3))
        urgent = submitted(ledger, new("now", priority=Priority.INTERACTIVE)).id
        bulk = submitted(ledger, new("some day", priority=Priority.BULK)).id

        places = [before(ledger, job_id) for job_id in (*ids, urgent, bulk)]

        assert places == [1, 2, 3, 0, 4]

    def test_the_line_moves_on(self, ledger: Ledger) -> None:
        ids = all_submitted(ledger, several(2))
        ledger.claim(ids[0], WORKER)

        assert [before(ledger, job_id) for job_id in ids] == [None, 0]

    def test_an_unknown_job_has_no_place(self, ledger: Ledger) -> None:
        with pytest.raises(JobNotFound):
            ledger.place(UNKNOWN)

    def test_an_input_that_the_bucket_lost_is_to_be_sent_again(self, ledger: Ledger) -> None:
        for tenant in ("a", "b"):
            ledger.record_input(tenant, "1" * 64, size=1, media_type="image/png")

        ledger.forget_input("a", "1" * 64)
        ledger.forget_input("a", "2" * 64)  # that was never there

        assert ledger.touch_inputs("a", ["1" * 64]) == set()
        assert ledger.touch_inputs("b", ["1" * 64]) == {"1" * 64}

    def test_a_stored_input_is_known_to_its_tenant(self, ledger: Ledger) -> None:
        ledger.record_input("a", DIGEST, size=10, media_type="image/png")
        ledger.record_input("a", DIGEST, size=10, media_type="image/png")

        assert ledger.touch_inputs("a", [DIGEST, "b" * 64, DIGEST]) == {DIGEST}
        assert ledger.touch_inputs("b", [DIGEST]) == set()
        assert ledger.touch_inputs("a", []) == set()

    def test_ended_attempts_tell_their_release_and_why(self, ledger: Ledger) -> None:
        old, fresh = worker("gpu-3", release="a" * 64), worker("gpu-4", release="b" * 64)
        for one in (old, fresh):
            ledger.register(one)
        golden = submitted(ledger, new("one", metadata={"golden": "mug", "sku": "7"}))
        completed(ledger, claimed(ledger, golden, by=old))
        lease = claimed(ledger, submitted(ledger, new("two", max_failures=1)), by=fresh)
        ledger.fail(lease, failure(FailureClass.RESOURCE))
        claimed(ledger, submitted(ledger, new("three")), by=fresh)  # still runs

        newest, before = ledger.ended(within=HOUR)

        assert (newest.release, newest.card, newest.golden) == ("b" * 64, "gpu-4", None)
        assert (newest.outcome, newest.failure_class) == (JobState.FAILED, FailureClass.RESOURCE)
        assert newest.timings == {}
        assert (before.job_id, before.release) == (golden.id, "a" * 64)
        assert (before.golden, before.timings) == ("mug", TIMINGS)
        assert before.failure_class is None

    def test_each_attempt_of_a_job_is_counted(self, ledger: Ledger) -> None:
        job = submitted(ledger)
        ledger.fail(claimed(ledger, job), failure(FailureClass.TRANSIENT))
        ledger.hand_back(claimed(ledger, job, by=OTHER), why="drain")
        completed(ledger, claimed(ledger, job))

        found = [(one.outcome, one.failure_class) for one in ledger.ended(within=HOUR)]

        assert found == [
            (JobState.SUCCEEDED, None),
            (JobState.QUEUED, None),
            (JobState.QUEUED, FailureClass.TRANSIENT),
        ]
        assert len(ledger.ended(within=HOUR, limit=2)) == 2

    def test_what_ended_long_ago_is_left_out(self, ledger: Ledger, let_pass: LetPass) -> None:
        completed(ledger, claimed(ledger))
        let_pass(2 * HOUR)
        again = completed(ledger, claimed(ledger, submitted(ledger, new("again"))))

        assert [one.job_id for one in ledger.ended(within=HOUR)] == [again.id]
