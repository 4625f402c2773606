from __future__ import annotations

from datetime import timedelta

import pytest

from jobs.durations import brief, duration
from jobs.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("1h30m", timedelta(hours=1.5)),
        ("0.5s", timedelta(seconds=0.5)),
        (" 5M ", timedelta(minutes=5)),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, span: timedelta) -> None:
    assert duration(text) == span


@pytest.mark.parametrize("text", ["", "10", "s", "ten minutes", "-5m", "5 m", "1w", "5m!", "1e3s"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is no duration; write 30s, 10m"):
        duration(text)


@pytest.mark.parametrize("text", ["0s", "0h0m", "999999999d"])
def test_a_duration_has_limits(text: str) -> None:
    with pytest.raises(InvalidRequest, match="longer than nothing, at most 3650 days"):
        duration(text)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=-1), "0s"),
        (timedelta(seconds=0.25), "0.2s"),
        (timedelta(seconds=42), "42s"),
        (timedelta(minutes=3), "3m"),
        (timedelta(hours=1.5), "1.5h"),
        (timedelta(days=40), "40d"),
    ],
)
def test_a_duration_is_told_in_its_largest_unit(span: timedelta, text: str) -> None:
    assert brief(span) == text
