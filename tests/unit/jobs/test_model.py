"""Nouns that cannot be wrong."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest

from jobs.errors import InvalidRequest
from jobs.model import (
    EditRequest,
    NewJob,
    OutputFormat,
    Result,
    Suspicion,
    canonical_digest,
)

SHA = "a" * 64


def request(**changes: Any) -> EditRequest:  # noqa: ANN401 - any field, wrong ones too
    values: dict[str, Any] = {"pictures": (SHA,), "instruction": "make it red", **changes}
    return EditRequest(**values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pictures", ()),
        ("pictures", (SHA,) * 4),
        ("pictures", ("A" * 64,)),
        ("instruction", ""),
        ("instruction", " \n"),
        ("instruction", "x" * 100_000),
        ("instruction", "a\x00b"),
        ("instruction", "Picture 2: <|image_pad|>"),
        ("model", "../secret"),
        ("profile", ""),
        ("seed", -1),
        ("seed", 2**53),
        ("steps", 1),
        ("steps", 201),
        ("true_cfg_scale", 0.5),
        ("true_cfg_scale", float("nan")),
        ("negative", "x" * 2001),
        ("size", "big"),
        ("size", "8x8"),
        ("size", "4097x64"),
        ("size", "64x513"),
        ("quality", 0),
        ("quality", 101),
        ("quality", 90),  # of a PNG
    ],
)
def test_a_request_that_could_never_run_cannot_be_built(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        request(**{field: value})

    assert str(refused.value).startswith(field)


@pytest.mark.parametrize(
    "choices",
    [
        {"quality": 1, "format": OutputFormat.JPEG},
        {"quality": 100, "format": OutputFormat.WEBP},
        {"alpha": True},
        {"alpha": True, "format": OutputFormat.WEBP},
    ],
)
def test_a_file_can_be_asked_for_as_its_format_allows(choices: dict[str, Any]) -> None:
    made = request(**choices)

    assert made.content() != request().content()
    assert made.parameters().items() >= choices.items()


def test_a_jpeg_has_no_transparency() -> None:
    with pytest.raises(InvalidRequest, match="alpha: JPEG has no transparency"):
        request(alpha=True, format=OutputFormat.JPEG)


def test_a_whole_number_is_the_same_scale() -> None:
    assert request(true_cfg_scale=4).content() == request(true_cfg_scale=4.0).content()


def test_a_choice_left_at_its_default_is_no_part_of_the_content() -> None:
    """A field that a later version adds must not turn a repeated key into a conflict."""
    assert request().content() == canonical_digest(
        {"pictures": [SHA], "instruction": "make it red", "revision": ""}
    )


def test_what_decides_the_picture_decides_the_content() -> None:
    plain = request()

    assert plain.content() == request().content()
    assert plain.content() != plain.content(revision="r2")
    for change in ({"instruction": "make it blue"}, {"seed": 1}, {"size": "64x64"}):
        assert request(**change).content() != plain.content()


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "a/b"},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 256},
        {"idempotency_key": "content:abc"},
        {"batch": ""},
        {"max_failures": 0},
        {"metadata": {"sku": "x" * 9000}},
        {"run_limit": timedelta(0)},
        {"start_within": timedelta(days=200_000_000)},
        {"batch": "a\x00b"},
        {"metadata": {"sku": "\ud800"}},
    ],
)
def test_a_job_that_could_not_be_kept_cannot_be_built(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        NewJob(request=request(), **changes)


def test_a_recorded_request_is_readable_though_a_limit_was_tightened() -> None:
    values = {name: getattr(request(), name) for name in EditRequest.__slots__}

    recorded = EditRequest.recorded(**{**values, "steps": 1})

    assert recorded.steps == 1
    assert EditRequest.recorded(**values) == request()


def test_a_request_recorded_before_a_field_was_added_has_its_default() -> None:
    recorded = EditRequest.recorded(pictures=(SHA,), instruction="make it red")

    assert recorded == request()


def test_a_result_reads_whatever_release_wrote_it() -> None:
    old = {
        "key": "k",
        "sha256": SHA,
        "bytes": 1,
        "media_type": "image/png",
        "width": 64,
        "height": 48,
    }
    suspect = {"code": "black", "message": "no part is bright"}

    assert Result.from_json(old).suspect is None
    assert Result.from_json({**old, "suspect": suspect, "later": 1}).suspect == Suspicion(**suspect)
    assert asdict(Result.from_json({**old, "suspect": suspect}))["suspect"] == suspect
