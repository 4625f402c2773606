"""What a person sees: tables, details and bars, on a terminal of 100 columns, or of 80."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from click.testing import Result
from rich.console import Console

from jobs.errors import FailureClass
from jobs.model import Failure
from producer.cli.tables import console
from tests.unit.producer.shop import BLACK, FAILURE, WORKER, Shop, photo

COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return on_terminal(shop, monkeypatch, columns=100)


@pytest.fixture
def narrow(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return on_terminal(shop, monkeypatch, columns=80)


def on_terminal(shop: Shop, monkeypatch: pytest.MonkeyPatch, *, columns: int) -> Shop:
    """Rich believes that both streams are terminals."""

    def pretend(*, stderr: bool = False) -> Console:
        screen = console(stderr=stderr)
        return Console(
            stderr=screen.stderr,
            markup=False,
            emoji=False,
            highlight=False,
            force_terminal=True,
            width=columns,
            legacy_windows=False,
        )

    for module in ("tables", "progress", "watching", "report"):
        monkeypatch.setattr(f"producer.cli.{module}.console", pretend)
    return shop


def seen(text: str) -> str:
    return COLOURS.sub("", text)


def test_several_jobs_are_a_table(terminal: Shop) -> None:
    ids = terminal.submitted("red", name="[bold]mug:smile:.jpg")
    terminal.submitted("blue")
    terminal.fail_next()
    told = seen(terminal.run("list").stdout)

    assert re.match(r"ID +STATE +NAME +AGE +NOTE", told)
    assert re.search(
        rf"{ids[0]} +failed +\[bold\]mug:smile:.jpg +[0-9.]+s +permanent: will not", told
    )


LONG = "spring-2026/IMG_20260311_142233_front.jpg"


def test_a_job_is_a_line_of_80_columns(narrow: Shop) -> None:
    (front,) = narrow.submitted("red", name="front.jpg")
    (back,) = narrow.submitted("blue", name=LONG)
    told = seen(narrow.run("list").stdout).splitlines()

    assert max(map(len, told)) <= 80
    assert re.match(rf"{back}  queued +spring-2026/\S*…\S*_front.jpg +\S+ *$", told[1])
    assert re.match(rf"{front}  queued +front.jpg +\S+ *$", told[2])


def test_a_note_without_room_stands_below_its_job_in_full(narrow: Shop) -> None:
    (failed,) = narrow.submitted("red", name=LONG)
    narrow.fail_next()
    (queued,) = narrow.submitted("blue", name="mug.jpg")
    heading, *lines = seen(narrow.run("list").stdout).splitlines()

    assert heading.split() == ["ID", "STATE", "NAME", "AGE"]
    assert [line[:36] for line in lines[:2]] == [queued, failed]
    assert lines[2:] == [f"  permanent: {FAILURE.message}"]


def test_a_terminal_may_be_narrower_than_a_line(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = on_terminal(shop, monkeypatch, columns=50)
    (job,) = tiny.submitted("red", name=LONG)
    tiny.fail_next()
    _, line, *note = seen(tiny.run("list").stdout).splitlines()

    assert line[:30] == job[:30]
    assert note == [f"  permanent: {FAILURE.message}"]


def test_a_suspect_picture_is_told_with_its_reason(terminal: Shop) -> None:
    (job,) = terminal.submitted("red")
    terminal.complete_next(BLACK)

    assert re.search(rf"suspect +black: {BLACK.message}", seen(terminal.run("status", job).stdout))


def test_one_job_is_told_in_full(terminal: Shop) -> None:
    terminal.submitted("blue")
    (job,) = terminal.submitted("make it red", sku="A-1")
    told = seen(terminal.run("status", job).stdout)

    assert re.search(r"instruction +make it red", told)
    assert re.search(r"metadata +name=stdin  sku=A-1", told)
    assert re.search(r"in its queue +1 before it", told)
    assert "failure" not in told.split()


def test_a_queued_job_tells_that_nobody_serves_it(terminal: Shop) -> None:
    (job,) = terminal.submitted("red")
    terminal.ledger.retire(WORKER.id)
    told = seen(terminal.run("status", job).stdout)

    assert re.search(r"note +no worker serves \S+ \(quality\) at present", told)


def test_a_job_tells_what_it_waits_for_and_whose_replay_it_is(terminal: Shop) -> None:
    (old,) = terminal.submitted("red")
    terminal.fail_next()
    terminal.run("replay", old)
    lease = terminal.claim()
    assert lease is not None
    later = Failure(failure_class=FailureClass.TRANSIENT, code="away", message="away")
    terminal.ledger.fail(lease, later, retry_in=timedelta(hours=1))
    told = seen(terminal.run("status", lease.job.id).stdout)

    assert re.search(rf"replay of +{old}", told)
    assert re.search(r"waits until +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", told)
    assert not re.search("replay of|waits until", seen(terminal.run("status", old).stdout))


def test_history_is_a_table(terminal: Shop) -> None:
    (job,) = terminal.submitted("red")
    terminal.complete_next()
    told = seen(terminal.run("history", job).stdout)

    assert re.search(r"running +succeeded +1 +host/cpu:0/1 +completed", told)


def test_watch_shows_what_runs_and_what_came_last(terminal: Shop) -> None:
    terminal.submitted("red", name="mug.jpg")
    lease = terminal.claim()
    assert lease is not None
    terminal.step(lease, 2, 4)
    told = seen(terminal.run("watch", "--once").stdout)

    assert "queued 0   running 1   succeeded 0" in told
    assert re.search(r"mug.jpg +[━╺]+ +2/4", told)


def test_what_is_watched_stands_in_lines_of_80_columns(narrow: Shop) -> None:
    (running,) = narrow.submitted("red", name=LONG)
    lease = narrow.claim()
    assert lease is not None
    narrow.step(lease, 20, 40)
    (queued,) = narrow.submitted("blue", name=LONG)
    told = seen(narrow.run("watch", "--once").stdout)

    assert max(map(len, told.splitlines())) <= 80
    name = r"spring-\S*…\S*\.jpg"  # the longer the ages are spelt, the shorter it is cut
    assert re.search(rf"^{running}  {name} +[━╺]+ +20/40 ", told, re.MULTILINE)
    assert re.search(rf"^{queued}  {name} +queued", told, re.MULTILINE)


def test_bars_go_to_standard_error(terminal: Shop) -> None:
    terminal.ledger.work = terminal.complete_next
    result = submit(terminal, "--wait")

    assert re.search(r"submitting +━+ 0:00:0. 1/1", seen(result.stderr))
    assert re.search(r"waiting +━+ 0:00:0. 1 succeeded", seen(result.stderr))
    assert "━" not in result.stdout


def submit(shop: Shop, *options: str) -> Result:
    return shop.run("submit", "-", "-i", "red", *options, stdin=photo())


def test_names_keep_their_brackets(terminal: Shop) -> None:
    terminal.submitted("[red]x[/red]")

    assert "[red]x[/red]" in seen(terminal.run("status", str(terminal.jobs[0].id)).stdout)
