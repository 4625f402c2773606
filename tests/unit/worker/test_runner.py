"""One attempt: each way it can go, and what the ledger and the bucket hold afterwards."""

from __future__ import annotations

import logging
from dataclasses import replace
from io import BytesIO
from threading import Event
from typing import Any
from weakref import ReferenceType, ref

import pytest
from PIL import Image

from jobs import pictures
from jobs.errors import (
    Denied,
    FailureClass,
    OutOfResources,
    Permanent,
    Transient,
    WorkerFatal,
)
from jobs.model import EditRequest, Job, Lease, Order, OutputFormat, input_key, output_key
from jobs.states import JobState
from jobs.testing import MemoryArtifacts, MemoryLedger
from tests.unit.worker.bench import SOURCE, Bench, new
from worker.engine import fake
from worker.engine.base import Edit
from worker.engine.fake import FakeEngine
from worker.runner import Verdict


def raising(error: Exception) -> Bench:
    def fault(_request: EditRequest, _step: int) -> None:
        raise error

    return Bench(fault)


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


def finished(bench: Bench, **choices: Any) -> Job:  # noqa: ANN401 - of the request
    one = new()
    lease = bench.lease(replace(one, request=replace(one.request, **choices)))
    assert bench.run(lease) is Verdict.SUCCEEDED
    return bench.job(lease)


def test_a_suspect_picture_is_announced_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    black = Image.new("RGB", (32, 24))
    monkeypatch.setattr(fake, "_paint", lambda *_: black)

    with caplog.at_level(logging.INFO):
        job = finished(bench)

    (line,) = [one for one in caplog.records if one.message == "attempt_finished"]
    assert job.result is not None
    assert job.result.suspect is not None
    assert job.result.suspect.code == vars(line)["suspect"] == "black"
    assert bench.artifacts.exists(job.result.key)


def test_a_picture_that_nothing_speaks_against_is_not_suspect() -> None:
    job = finished(Bench())

    assert job.result is not None
    assert job.result.suspect is None


def test_pictures_are_scaled_while_the_card_is_free_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A source of 48 MP takes a second to scale, on the way in and on the way out."""
    bench, on_card = Bench(), []
    prepare, finish = FakeEngine.prepare, Edit.finish

    def prepared(*arguments: Any, **choices: Any) -> Edit:  # noqa: ANN401 - handed on
        on_card.append(bench.card.held)
        return prepare(*arguments, **choices)

    def finished_so(edit: Edit, made: Image.Image) -> Image.Image:
        on_card.append(bench.card.held)
        return finish(edit, made)

    monkeypatch.setattr(FakeEngine, "prepare", prepared)
    monkeypatch.setattr(Edit, "finish", finished_so)
    result = finished(bench, size="64x48").result

    assert result is not None
    assert (result.width, result.height) == (64, 48)
    assert on_card == [None, None]


def test_what_was_made_ready_is_let_go_of_before_the_result_is_encoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Jobs that encode and send are several at once; each would hold its pictures twice."""
    edits: list[ReferenceType[Edit]] = []
    left: list[Edit | None] = []
    prepare, encode = FakeEngine.prepare, pictures.encode

    def prepared(*arguments: Any, **choices: Any) -> Edit:  # noqa: ANN401 - handed on
        edit = prepare(*arguments, **choices)
        edits.append(ref(edit))
        return edit

    def encoded(*arguments: Any, **choices: Any) -> bytes:  # noqa: ANN401
        left.extend(one() for one in edits)
        return encode(*arguments, **choices)

    monkeypatch.setattr(FakeEngine, "prepare", prepared)
    monkeypatch.setattr(pictures, "encode", encoded)
    finished(Bench())

    assert left == [None]


def test_the_picture_is_let_go_of_before_its_file_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 67 million pixels it is 268 MB, and several jobs may send at once."""
    made: list[ReferenceType[Image.Image]] = []
    left: list[Image.Image | None] = []
    encode, put = pictures.encode, MemoryArtifacts.put

    def encoded(picture: Image.Image, *arguments: Any, **choices: Any) -> bytes:  # noqa: ANN401
        made.append(ref(picture))
        return encode(picture, *arguments, **choices)

    def sent(*arguments: Any, **choices: Any) -> None:  # noqa: ANN401 - handed on
        left.extend(one() for one in made)
        put(*arguments, **choices)

    monkeypatch.setattr(pictures, "encode", encoded)
    monkeypatch.setattr(MemoryArtifacts, "put", sent)
    finished(Bench())

    assert left == [None]


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


def test_the_sources_transparency_is_handed_back_where_asked() -> None:
    bench = Bench()
    source = Image.new("RGBA", (32, 24), (200, 30, 30, 255))
    source.paste((0, 0, 0, 0), (0, 0, 16, 24))
    file = BytesIO()
    source.save(file, "PNG")
    source_digest = bench.stored(file.getvalue())

    def alpha(**choices: Any) -> Image.Image | None:  # noqa: ANN401
        result = finished(bench, pictures=(source_digest,), **choices).result
        assert result is not None
        return pictures.decode_all(bench.artifacts.get(result.key), name="x").alpha

    cut = alpha(alpha=True, size="64x48")
    assert cut is not None
    assert cut.size == (64, 48)
    assert (cut.getpixel((4, 24)), cut.getpixel((60, 24))) == (0, 255)
    assert alpha(alpha=False) is None


def test_a_source_without_transparency_has_none_to_hand_back() -> None:
    bench = Bench()
    result = finished(bench, alpha=True).result

    assert result is not None
    assert pictures.decode_all(bench.artifacts.get(result.key), name="x").alpha is None


def test_a_lower_quality_makes_a_smaller_file() -> None:
    bench = Bench()
    sizes = []
    for quality in (None, 5):
        result = finished(bench, format=OutputFormat.JPEG, quality=quality, seed=1).result
        assert result is not None
        sizes.append(result.bytes)

    assert sizes[1] < sizes[0]


def test_an_attempt_writes_one_line_with_its_verdict(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    lease = bench.lease()

    with caplog.at_level(logging.INFO):
        bench.run(lease)

    (line,) = [one for one in caplog.records if one.message == "attempt_finished"]
    assert vars(line)["job_id"] == str(lease.job.id)
    assert (vars(line)["attempt"], vars(line)["verdict"]) == (1, "succeeded")
    assert vars(line)["card"] >= 0.0


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


@pytest.mark.parametrize("call", ["get", "put"])
def test_a_short_outage_of_the_bucket_is_waited_for(call: str) -> None:
    bench = Bench(patience=5.0)
    bench.bucket.shut(call, times=3)
    lease = bench.lease()

    verdict = bench.run(lease)

    assert verdict is Verdict.SUCCEEDED
    assert bench.job(lease).attempt == 1
    assert bench.bucket.refused == [call] * 3


def test_a_long_outage_of_the_bucket_costs_no_job_its_budget() -> None:
    bench = Bench()
    bench.bucket.shut("get", "put", "exists")
    lease = bench.lease()

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.HANDED_BACK
    assert (job.state, job.failures) == (JobState.QUEUED, 0)


def test_an_object_that_fails_while_the_bucket_answers_is_bounded_by_the_budget() -> None:
    bench = Bench()
    bench.bucket.shut("get")
    lease = bench.lease()

    verdict = bench.run(lease)

    job = bench.job(lease)
    assert verdict is Verdict.FAILED
    assert (job.state, job.failures) == (JobState.QUEUED, 1)


def test_a_bucket_that_refuses_our_keys_is_bounded_by_the_budget() -> None:
    """It answers; waiting, and handing back for ever, would help nobody."""
    bench = Bench()
    for call in ("get", "exists"):
        bench.bucket.rig(call, *[Denied("AccessDenied")] * 100)
    lease = bench.lease()

    verdict = bench.run(lease)

    assert verdict is Verdict.FAILED
    assert bench.job(lease).failures == 1


# ---- the end of an attempt while the ledger is away


@pytest.mark.parametrize(("call", "error"), [("complete", None), ("fail", Transient("not now"))])
def test_an_ending_waits_for_the_ledger(call: str, error: Exception | None) -> None:
    bench = Bench() if error is None else raising(error)
    bench.keeper.is_away = True
    bench.books.shut(call, times=5)
    lease = bench.lease()

    verdict = bench.run(lease)

    assert verdict is (Verdict.FAILED if error else Verdict.SUCCEEDED)
    assert bench.job(lease).state is (JobState.QUEUED if error else JobState.SUCCEEDED)
    assert bench.books.refused == [call] * 5


def test_an_ending_that_a_living_ledger_refuses_is_given_up() -> None:
    bench = Bench()
    bench.books.shut("complete")
    lease = bench.lease()

    verdict = bench.run(lease)

    assert verdict is Verdict.LOST
    assert bench.job(lease).state is JobState.RUNNING
    assert bench.keeper.held() == []


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
