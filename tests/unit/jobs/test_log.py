"""Log lines for machines and for people."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from jobs import log
from jobs.log import Console, JsonLines


def record(**facts: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "attempt_finished", "levelno": 20, "levelname": "INFO"})
    made.created, made.name = 1_772_445_600.25, "worker.attempt.runner"
    vars(made).update(facts)
    return made


def crashed() -> logging.LogRecord:
    try:
        int("a bug")
    except ValueError:
        return record(exc_info=sys.exc_info())
    raise AssertionError


def as_json(made: logging.LogRecord) -> dict[str, object]:
    line = JsonLines().format(made)
    assert "\n" not in line
    read = json.loads(line)
    assert isinstance(read, dict)
    return read


def test_a_json_line_tells_when_what_and_the_facts() -> None:
    assert as_json(record(job_id="7", seconds=1.5)) == {
        "at": "2026-03-02T10:00:00.250+00:00",
        "level": "info",
        "event": "attempt_finished",
        "logger": "worker.attempt.runner",
        "job_id": "7",
        "seconds": 1.5,
    }


def test_a_json_line_holds_its_traceback() -> None:
    assert "ValueError: invalid literal" in str(as_json(crashed())["traceback"])


def test_a_fact_cannot_hide_what_every_line_tells() -> None:
    line = as_json(record(event="other", level="other", at="other"))

    assert (line["event"], line["level"]) == ("attempt_finished", "info")
    assert line["at"] == "2026-03-02T10:00:00.250+00:00"


def test_a_fact_of_any_type_is_told_as_text() -> None:
    assert as_json(record(fact=ValueError("why")))["fact"] == "why"


def test_a_console_line_is_for_people() -> None:
    line = Console().format(record(job_id="7", seconds=1.23456))

    assert line.endswith("info    attempt_finished         job_id=7 seconds=1.235")


def test_a_console_line_is_followed_by_its_traceback() -> None:
    first, *rest = Console().format(crashed()).splitlines()

    assert first.endswith("attempt_finished")
    assert rest[-1].startswith("ValueError: invalid literal")


@pytest.mark.usefixtures("untouched_log")
def test_lines_go_where_they_are_sent_and_chatter_does_not() -> None:
    stream = io.StringIO()
    log.set_up(as_json=True, stream=stream)

    logging.getLogger("worker").info("worker_ready", extra={"holder": "host/cpu:0/1"})
    logging.getLogger("worker").debug("step")
    logging.getLogger("kombu").info("connected")

    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["holder"] == "host/cpu:0/1"


@pytest.mark.usefixtures("untouched_log")
@pytest.mark.parametrize("text", ["把背景换成白色", "two\nlines", "half a \udcff character"])
def test_any_text_can_be_a_fact(text: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    log.set_up(as_json=True, stream=stream)

    logging.getLogger("worker").info("attempt_finished", extra={"why": text})

    (line,) = raw.getvalue().decode().splitlines()
    assert json.loads(line)["why"] == text


@pytest.mark.usefixtures("untouched_log")
def test_a_fact_of_every_line_hides_none_of_its_own() -> None:
    stream = io.StringIO()
    log.set_up(as_json=True, stream=stream, always={"worker": "host/cpu:0/1"})

    logging.getLogger("worker").info("one")
    logging.getLogger("worker").info("two", extra={"worker": "other"})

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [(line["event"], line["worker"]) for line in lines]
    assert told == [("one", "host/cpu:0/1"), ("two", "other")]


@pytest.mark.usefixtures("untouched_log")
def test_lines_of_a_block_tell_what_it_is_about_and_later_ones_do_not() -> None:
    stream = io.StringIO()
    log.set_up(as_json=True, stream=stream)

    with log.about({"job_id": "7"}), log.about({"attempt": 2}):
        logging.getLogger("engine").info("within")
    logging.getLogger("engine").info("after")

    within, after = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (within["job_id"], within["attempt"]) == ("7", 2)
    assert "job_id" not in after


def test_a_librarys_message_of_several_lines_is_one_line_for_people() -> None:
    made = record(on="cpu:0")
    made.msg = "Cannot connect.\nTrying again in 2 seconds\n"

    line = Console().format(made)

    assert "\n" not in line
    assert "Cannot connect. Trying again in 2 seconds on=cpu:0" in line
