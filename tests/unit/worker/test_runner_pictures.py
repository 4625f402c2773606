"""The picture of an attempt: scaled, let go of in time, judged, and written as was asked."""

from __future__ import annotations

import logging
from dataclasses import replace
from io import BytesIO
from typing import Any
from weakref import ReferenceType, ref

import pytest
from PIL import Image

from jobs import pictures
from jobs.model import Job, OutputFormat
from jobs.testing import MemoryArtifacts
from tests.unit.worker.bench import Bench, new
from tests.unit.worker.test_provenance import KEPT
from tests.unit.worker.test_settings import SERVICES
from worker.attempt.outcomes import Verdict
from worker.attempt.provenance import SOURCE_TYPE
from worker.engine import fake
from worker.engine.base import Edit
from worker.engine.fake import FakeEngine
from worker.process import labeller_of
from worker.settings import WorkerSettings


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


@pytest.mark.parametrize("switch", [{}, {"PACKSHOT_PROVENANCE": "false"}])
def test_a_picture_says_how_it_was_made_unless_that_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, switch: dict[str, str]
) -> None:
    monkeypatch.delenv("PACKSHOT_ENV_FILE", raising=False)
    for name, value in {**SERVICES, **switch}.items():
        monkeypatch.setenv(name, value)
    bench = Bench()
    labeller = labeller_of(WorkerSettings.load(), bench.engine)
    bench.runner = replace(bench.runner, labeller=labeller)
    photograph = pictures.encode(Image.new("RGB", (32, 24)), OutputFormat.JPEG, xmp=KEPT)

    job = finished(bench, pictures=(bench.stored(photograph),))

    assert job.result is not None
    packet = pictures.xmp_of(bench.artifacts.get(job.result.key), name="result") or b""
    for told in (SOURCE_TYPE.encode(), b"TC260:AIGC", str(job.id).encode(), b">kept<"):
        assert (told in packet) is not bool(switch)


def test_a_lower_quality_makes_a_smaller_file() -> None:
    bench = Bench()
    sizes = []
    for quality in (None, 5):
        result = finished(bench, format=OutputFormat.JPEG, quality=quality, seed=1).result
        assert result is not None
        sizes.append(result.bytes)

    assert sizes[1] < sizes[0]
