"""One attempt: each way it can go, and what the ledger and the bucket hold afterwards."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from io import StringIO
from threading import Event

import pytest

from jobs import log
from jobs.errors import FailureClass, OutOfResources, Permanent, Transient, WorkerFatal
from jobs.model import EditRequest, Job, Lease, Order, input_key, output_key
from jobs.states import JobState
from jobs.testing import MemoryLedger
from tests.unit.worker.bench import SOURCE, Bench, new, raising
from worker.attempt.outcomes import Verdict
from worker.engine.base import Edit


def test_a_picture_is_edited_uploaded_and_announced() -> None:
    bench = Bench()
    lease = bench.lease()

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.SUCCEEDED
    assert job.state is JobState.SUCCEEDED
    assert job.result is not None
    assert job.result.key == output_key(lease)
    assert bench.artifacts.media_type(job.result.key) == job.result.media_type == "image/png"
    assert (job.result.width, job.result.height) == (32, 24)
    assert len(bench.artifacts.get(job.result.key)) == job.result.bytes


def test_the_seconds_of_each_stage_are_on_the_attempt_s_record() -> None:
    bench = Bench()
    lease = bench.lease()

    bench.run(lease)

    (attempt,) = bench.ledger.attempts(lease.job.id)
    before, after = {"fetch", "decode", "prepare", "wait"}, {"judge", "finish", "encode", "upload"}
    assert attempt.timings is not None
    assert attempt.timings.keys() == before | {"card"} | after | {"total"}


def test_what_cannot_be_edited_is_refused_before_the_card_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    lease = bench.lease()
    bench.engine.prepare = _refuse  # type: ignore[method-assign]
    monkeypatch.setattr(bench.card, "taken", lambda *_: pytest.fail("asked for the card"))

    assert bench.run(lease) is Verdict.FAILED


def _refuse(*_: object, **__: object) -> Edit:
    raise Permanent("aspect: too long")


def test_an_attempt_writes_one_line_with_its_verdict(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    lease = bench.lease()

    with caplog.at_level(logging.INFO):
        bench.run(lease)

    (line,) = [one for one in caplog.records if one.message == "attempt_finished"]
    assert vars(line)["job_id"] == str(lease.job.id)
    assert (vars(line)["attempt"], vars(line)["verdict"]) == (1, "succeeded")
    assert vars(line)["card_seconds"] >= 0.0


def test_the_line_of_a_failure_says_of_which_class_it_is_and_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = raising(OutOfResources("no memory"))

    with caplog.at_level(logging.INFO):
        bench.run(bench.lease())

    (line,) = [vars(one) for one in caplog.records if one.message == "attempt_finished"]
    assert (line["failure_class"], line["why"]) == ("resource", "no memory")
    assert line["code"] == OutOfResources.code


@pytest.mark.usefixtures("untouched_log")
def test_whatever_an_engine_logs_is_told_with_its_job() -> None:
    bench = Bench(fault=lambda *_: logging.getLogger("engine").warning("hot"))
    stream = StringIO()
    log.set_up(as_json=True, stream=stream)
    lease = bench.lease()

    bench.run(lease)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    hot = [line for line in lines if line["event"] == "hot"]
    assert hot
    assert {(line["job_id"], line["attempt"]) for line in hot} == {(str(lease.job.id), 1)}


@pytest.mark.parametrize(
    ("error", "failure_class", "state"),
    [
        (Permanent("never"), FailureClass.PERMANENT, JobState.FAILED),
        (Transient("not now"), FailureClass.TRANSIENT, JobState.QUEUED),
        (OutOfResources("no memory"), FailureClass.RESOURCE, JobState.QUEUED),
        (RuntimeError("a bug"), FailureClass.TRANSIENT, JobState.QUEUED),
    ],
)
def test_a_failure_is_told_with_its_class(
    error: Exception, failure_class: FailureClass, state: JobState
) -> None:
    bench = raising(error)
    lease = bench.lease()

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.FAILED
    assert job.state is state
    assert job.failure is not None
    assert job.failure.failure_class is failure_class
    assert bench.outputs() == []


def test_a_crash_of_ours_leaves_a_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    bench = raising(ZeroDivisionError("a bug"))
    lease = bench.lease()

    bench.run(lease)

    (line,) = [one for one in caplog.records if one.message == "attempt_crashed"]
    assert line.exc_info is not None
    assert vars(line)["job_id"] == str(lease.job.id)


def test_a_failure_that_was_foreseen_leaves_none(caplog: pytest.LogCaptureFixture) -> None:
    bench = raising(Transient("not now"))

    bench.run(bench.lease())

    assert "attempt_crashed" not in caplog.messages


def test_a_picture_that_cannot_be_read_fails_for_good() -> None:
    bench = Bench()
    one = new()
    request = replace(one.request, pictures=(bench.stored(b"no picture"),))
    lease = bench.lease(replace(one, request=request))

    bench.run(lease)

    job = bench.job(lease)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code == "unusable_picture"
    assert "picture 1" in job.failure.message


@pytest.mark.parametrize("damage", [None, b"another picture"], ids=["gone", "other bytes"])
def test_an_input_that_is_not_there_as_it_was_sent_fails_for_good(damage: bytes | None) -> None:
    bench = Bench()
    bench.ledger.record_input("default", SOURCE, size=1, media_type="image/png")
    key = input_key("default", SOURCE)
    bench.artifacts.delete([key])
    if damage:
        bench.artifacts.put(key, damage, media_type="image/png")
    lease = bench.lease()

    bench.run(lease)

    job = bench.job(lease)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code == "no_such_artifact"
    assert bench.ledger.touch_inputs("default", [SOURCE]) == set()  # so it is uploaded again


# ---- a card that only a new process heals


def test_a_fatal_error_of_the_card_is_the_process_s_too() -> None:
    bench = raising(WorkerFatal("the card fell off the bus"))
    lease = bench.lease()

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.WORKER_FATAL
    assert (job.state, job.failures) == (JobState.QUEUED, 1)
    assert bench.card.is_broken


def test_it_stays_fatal_when_the_ledger_cannot_be_told() -> None:
    bench = raising(WorkerFatal("the card fell off the bus"))
    bench.books.shut("fail")

    verdict = bench.run(bench.lease())

    assert verdict is Verdict.WORKER_FATAL


def test_the_next_job_is_kept_from_a_broken_card_and_handed_back_uncounted() -> None:
    bench = Bench()
    lease = bench.lease()
    place = bench.gate.admit()
    assert place is not None

    with place:
        bench.card.is_broken = True
        verdict = bench.runner.run(lease, place)

    assert verdict is Verdict.HANDED_BACK
    assert (bench.job(lease).state, bench.job(lease).failures) == (JobState.QUEUED, 0)


def test_nothing_of_a_failed_edit_outlives_it() -> None:
    """What its frames hold may be gigabytes on the card."""
    alive: list[bool] = []

    class Latents:
        def __del__(self) -> None:
            ended.set()

    def fault(_request: EditRequest, _step: int) -> None:
        latents = Latents()
        bench.keeper.held()[0].order(Order.CANCEL, "never mind")
        bench.keeper.held()[0].check()
        del latents

    class Watched(MemoryLedger):
        def confirm_cancel(self, lease: Lease) -> Job:
            alive.append(not ended.is_set())
            return super().confirm_cancel(lease)

    ended = Event()
    bench = Bench(fault, ledger=Watched())

    bench.run(bench.lease())

    assert alive == [False]
