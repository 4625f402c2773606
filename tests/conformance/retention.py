"""What every retention promises: subclass it with ``ledger``, ``retention`` and ``let_pass``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from jobs.errors import JobNotFound, Unavailable
from jobs.ledger import Ledger
from jobs.model import ArtifactKey, Job
from jobs.retention import Retention, StoredInput
from jobs.states import JobState
from tests.conformance.scenes import (
    DIGEST,
    HOUR,
    MINUTE,
    QUEUE,
    WORKER,
    LetPass,
    accepted,
    at_once,
    claimed,
    completed,
    failed,
    new,
    submitted,
    worker,
)

DAY = 24 * HOUR


def done(ledger: Ledger, word: str = "make it red", **options: object) -> Job:
    return completed(ledger, claimed(ledger, submitted(ledger, new(word, **options))))


def away(_keys: Sequence[ArtifactKey]) -> None:
    raise Unavailable("S3 does not answer")


class RetentionConformance:
    @pytest.fixture(autouse=True)
    def offered(self, ledger: Ledger) -> None:
        ledger.register(WORKER)

    # ---- results

    def test_a_result_that_expired_is_withdrawn_once(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        short = done(ledger, keep_for=HOUR)
        done(ledger, "keep it", keep_for=3 * HOUR)
        done(ledger, "keep it for good")
        let_pass(2 * HOUR)

        due = retention.due_results(DAY, limit=10)
        (gone,) = retention.withdraw_results(DAY, limit=10)

        assert [job.id for job in due] == [gone.id] == [short.id]
        assert gone.result is not None
        assert gone.result_deleted_at is not None
        assert ledger.get(gone.id) == gone
        assert list(retention.withdraw_results(DAY, limit=10)) == []

    def test_the_results_of_old_jobs_are_due_and_few_at_a_time(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        ids = [done(ledger, str(number)).id for number in range(3)]
        failed(ledger, new("no picture"))
        let_pass(2 * DAY)
        done(ledger, "young")

        first = retention.withdraw_results(DAY, limit=2)
        rest = retention.withdraw_results(DAY, limit=2)

        assert [len(first), len(rest)] == [2, 1]
        assert {job.id for job in (*first, *rest)} == {*ids}

    def test_a_result_is_kept_as_long_as_its_caller_wanted(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        job = done(ledger, keep_for=5 * DAY)
        let_pass(3 * DAY)

        early = retention.withdraw_results(DAY, limit=10)
        removed = retention.remove_jobs(DAY, limit=10)
        let_pass(3 * DAY)

        assert (list(early), removed) == ([], 0)
        assert [one.id for one in retention.withdraw_results(DAY, limit=10)] == [job.id]

    def test_sweeps_at_once_withdraw_each_result_once(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        for number in range(8):
            done(ledger, str(number))
        let_pass(2 * DAY)

        found = at_once([partial(retention.withdraw_results, DAY, limit=8)] * 4)

        assert max(map(len, found)) > 0
        assert sum(len(some) for some in found) == 8

    def test_a_withdrawn_result_is_no_answer_to_the_same_content(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        done(ledger)
        let_pass(2 * DAY)
        retention.withdraw_results(DAY, limit=1)

        assert accepted(ledger, new()).created

    # ---- jobs

    def test_old_ended_jobs_go_with_all_that_is_kept_of_them(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        dead = failed(ledger, new(idempotency_key="k"))
        gone = ledger.cancel(submitted(ledger, new("two")).id, who="ann")
        let_pass(2 * DAY)
        young = failed(ledger, new("three"))

        due = retention.due_jobs(DAY, limit=10)
        removed = retention.remove_jobs(DAY, limit=10)

        assert ({*due}, removed) == ({dead.id, gone.id}, 2)
        assert list(ledger.history(dead.id)) == []
        assert ledger.get(young.id) == young
        with pytest.raises(JobNotFound):
            ledger.get(dead.id)
        assert accepted(ledger, new(idempotency_key="k")).created

    def test_what_waits_or_runs_is_kept_however_old(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        submitted(ledger)
        claimed(ledger, submitted(ledger, new("run")))
        let_pass(365 * DAY)

        assert list(retention.due_jobs(DAY, limit=10)) == []
        assert retention.remove_jobs(DAY, limit=10) == 0

    def test_a_job_goes_after_its_announced_picture(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        job = done(ledger)
        let_pass(2 * DAY)

        early = retention.remove_jobs(DAY, limit=10)
        retention.withdraw_results(DAY, limit=10)

        assert early == 0
        assert ledger.get(job.id).state is JobState.SUCCEEDED
        assert retention.remove_jobs(DAY, limit=10) == 1

    def test_jobs_go_few_at_a_time(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        for number in range(3):
            failed(ledger, new(str(number)))
        let_pass(2 * DAY)

        assert [retention.remove_jobs(DAY, limit=2) for _ in range(3)] == [2, 1, 0]

    # ---- inputs

    def test_an_unused_input_is_forgotten_after_its_object(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        ledger.record_input("a", DIGEST, size=7, media_type="image/png")
        let_pass(2 * DAY)
        ledger.record_input("b", DIGEST, size=7, media_type="image/png")
        deleted: list[ArtifactKey] = []
        one = StoredInput(tenant="a", sha256=DIGEST, bytes=7)

        due = list(retention.due_inputs(DAY, limit=10))
        gone = list(retention.remove_inputs(DAY, limit=10, delete=deleted.extend))

        assert due == gone == [one]
        assert deleted == [one.key]
        assert ledger.touch_inputs("a", [DIGEST]) == set()
        assert ledger.touch_inputs("b", [DIGEST]) == {DIGEST}
        assert list(retention.remove_inputs(DAY, limit=10, delete=pytest.fail)) == []  # type: ignore[arg-type]

    @pytest.mark.parametrize("running", [False, True])
    def test_an_input_that_a_job_still_needs_is_kept(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass, *, running: bool
    ) -> None:
        ledger.record_input("default", DIGEST, size=7, media_type="image/png")
        job = submitted(ledger)
        let_pass(365 * DAY)
        if running:
            claimed(ledger, job)

        kept = list(retention.due_inputs(DAY, limit=10))
        ledger.cancel(job.id, who="ann")

        assert kept == []
        assert len(retention.due_inputs(DAY, limit=10)) == (0 if running else 1)

    def test_an_input_that_was_used_again_is_kept(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        ledger.record_input("a", DIGEST, size=7, media_type="image/png")
        let_pass(2 * DAY)
        ledger.touch_inputs("a", [DIGEST])

        assert list(retention.due_inputs(DAY, limit=10)) == []

    def test_inputs_are_forgotten_where_their_objects_may_be_gone(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        ledger.record_input("a", DIGEST, size=7, media_type="image/png")
        let_pass(2 * DAY)

        with pytest.raises(Unavailable):
            retention.remove_inputs(DAY, limit=10, delete=away)

        assert ledger.touch_inputs("a", [DIGEST]) == set()

    def test_a_sweep_that_is_killed_among_the_objects_leaves_none_that_is_counted_on(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        """What was taken back with the transaction is an entry, not an object."""
        ledger.record_input("a", DIGEST, size=7, media_type="image/png")
        let_pass(2 * DAY)

        def killed(_keys: Sequence[ArtifactKey]) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            retention.remove_inputs(DAY, limit=10, delete=killed)

        assert ledger.touch_inputs("a", [DIGEST]) == set()
        ledger.record_input("a", DIGEST, size=7, media_type="image/png")
        assert ledger.touch_inputs("a", [DIGEST]) == {DIGEST}
        assert list(retention.remove_inputs(DAY, limit=10, delete=killed)) == []

    def test_what_a_killed_sweep_left_goes_with_the_next(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        ledger.record_input("a", DIGEST, size=7, media_type="image/png")
        let_pass(2 * DAY)

        with pytest.raises(Unavailable):
            retention.remove_inputs(DAY, limit=10, delete=away)

        assert list(retention.unrecorded([StoredInput(tenant="a", sha256=DIGEST, bytes=7)])) == []
        assert len(retention.remove_inputs(DAY, limit=10, delete=lambda _keys: None)) == 1

    def test_an_object_without_a_row_gets_one_and_ages(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        known = StoredInput(tenant="a", sha256=DIGEST, bytes=7)
        lone = replace(known, tenant="b")
        ledger.record_input("a", DIGEST, size=7, media_type="image/png")

        assert list(retention.unrecorded([known, lone])) == [lone]
        assert retention.adopt([lone, known]) == 1
        assert (list(retention.unrecorded([known, lone])), retention.adopt([])) == ([], 0)
        let_pass(2 * DAY)
        assert lone in retention.due_inputs(DAY, limit=10)

    # ---- workers

    def test_workers_that_left_long_ago_go_and_their_model_stays(
        self, ledger: Ledger, retention: Retention, let_pass: LetPass
    ) -> None:
        ledger.retire(WORKER.id)
        let_pass(2 * DAY)
        ledger.register(worker("gpu-2"))

        due = list(retention.due_workers(DAY, limit=10))

        assert due == [WORKER.id]
        assert [retention.remove_workers(DAY, limit=10) for _ in range(2)] == [1, 0]
        assert [one.queue for one in ledger.models()] == [QUEUE]
        assert len(ledger.live_workers()) == 1
        let_pass(MINUTE)
