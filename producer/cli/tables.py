"""Jobs as people read them on a terminal, and as other programs read them from a pipe."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from jobs.durations import brief
from jobs.ledger import Move
from jobs.model import Job
from jobs.states import JobState
from producer.cli.cut import Cut
from producer.cli.entries import Entry, printable
from producer.views import error_json, job_json

STYLES: Final[Mapping[JobState, str]] = {
    JobState.QUEUED: "dim",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
}

UNBOUNDED: Final = 10_000  # columns: to see how wide a table would be
INDENT: Final = 2  # columns


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        """As any other way of writing says it: the command's edge knows what to do."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console(*, stderr: bool = False) -> Console:
    """Names and instructions are text: no markup, no emoji codes, no highlighting.

    FORCE_COLOR makes no terminal of a pipe: whoever reads there wants lines.
    """
    there = (sys.stderr if stderr else sys.stdout).isatty()
    return _Screen(stderr=stderr, force_terminal=there, markup=False, emoji=False, highlight=False)


def show_entries(entries: Sequence[Entry]) -> None:
    """A table on a terminal; elsewhere a line per job: id, state, name, and a note if any."""
    screen = console()
    those = [entry for entry in entries if entry.job is not None]
    if not screen.is_terminal:
        for entry in those:
            click.echo("\t".join(_plain(entry)))
    elif those:
        _show_table(screen, those)


def show_details(job: Job, facts: Mapping[str, str]) -> None:
    """One job, a fact a line; ``facts`` are what the caller knows beside it."""
    screen = console()
    if not screen.is_terminal:
        show_entries([Entry(name=str(job.id), noun="id", job=job)])
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in {**_details(job), **facts}.items():
        if value:
            grid.add_row(Text(name, style="bold"), _styled(job.state, value, name == "state"))
    screen.print(grid)


def show_moves(moves: Sequence[Move]) -> None:
    screen = console()
    if not screen.is_terminal:
        for move in moves:
            click.echo("\t".join(_move(move)))
        return
    table = plain_table("when", "from", "to", "attempt", "who", "why")
    for move in moves:
        table.add_row(*(Text(cell) for cell in _move(move)))
    screen.print(table)


def echo_json(value: object) -> None:
    """One object on one line."""
    click.echo(json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode())


def entry_json(entry: Entry) -> dict[str, Any]:
    """The job with what the command line knows of it, and the error if there is one."""
    known: dict[str, Any] = {entry.noun: entry.name}
    if entry.where:
        known["where"] = entry.where
    if entry.job is not None:
        known |= job_json(entry.job)
    if entry.created is not None:
        known["created"] = entry.created
    if entry.file is not None:
        known["file"] = str(entry.file)
    if entry.error is not None:
        known |= error_json(entry.error)
    return known


def move_json(move: Move) -> dict[str, Any]:
    return {
        "at": move.at.isoformat(timespec="milliseconds"),
        "from": move.from_state.value if move.from_state else None,
        "to": move.to_state.value,
        "attempt": move.attempt,
        "who": move.who,
        "why": move.why,
    }


def plain_table(*columns: str, narrow: str = "") -> Table:
    """``narrow``: the one column that gives way where room is short; else all but ids do."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        keeps_its_width = name != narrow if narrow else name == "id"
        table.add_column(
            name.upper(),
            no_wrap=keeps_its_width,
            overflow="ellipsis" if keeps_its_width else "fold",
        )
    return table


def state_text(state: JobState) -> Text:
    return Text(state.value, style=STYLES[state])


def counted(counts: Mapping[JobState, int]) -> str:
    """``queued 3  running 1  …``, every state in its order."""
    return "  ".join(f"{state.value} {counts.get(state, 0)}" for state in JobState)


def age(instant: datetime | None) -> str:
    return brief(datetime.now(UTC) - instant) if instant else ""


def _show_table(screen: Console, entries: Sequence[Entry]) -> None:
    """A line per job; notes below it, all of them, where one has no room at its end."""
    table = _table(entries, with_notes=any(map(_note, entries)))
    wanted = screen.measure(table, options=screen.options.update_width(UNBOUNDED))
    if wanted.maximum <= screen.width:
        screen.print(table)
        return
    heading, *lines = screen.render_lines(_table(entries, with_notes=False), pad=False)
    screen.print(SegmentLines([heading], new_lines=True), end="")
    for entry, line in zip(entries, lines, strict=True):
        screen.print(SegmentLines([line], new_lines=True), end="")
        if note := _note(entry):
            screen.print(Padding(Text(note), (0, 0, 0, INDENT), expand=False))


def _table(entries: Sequence[Entry], *, with_notes: bool) -> Table:
    table = plain_table("id", "state", "name", "age", *["note"] * with_notes, narrow="name")
    for entry in entries:
        assert entry.job is not None, "the caller has left out entries without a job"
        cells: Sequence[RenderableType] = (
            Text(str(entry.job.id)),
            _state_and_progress(entry.job),
            Cut(printable(entry.label)),
            Text(age(entry.job.created_at)),
            *[Text(_note(entry))] * with_notes,
        )
        table.add_row(*cells)
    return table


def _state_and_progress(job: Job) -> Text:
    if job.state is JobState.RUNNING:
        return Text(f"running {job.progress:.0%}", style=STYLES[job.state])
    return state_text(job.state)


def _plain(entry: Entry) -> list[str]:
    assert entry.job is not None, "the caller has left out entries without a job"
    cells = [str(entry.job.id), entry.job.state.value, printable(entry.label), _note(entry)]
    return cells if cells[-1] else cells[:-1]


def _note(entry: Entry) -> str:
    job = entry.job
    if entry.file is not None:
        return printable(str(entry.file))
    if job is not None and job.failure is not None:
        return printable(f"{job.failure.failure_class.value}: {job.failure.message}")
    if job is not None and job.result is not None and job.result.suspect is not None:
        return printable(f"suspect: {job.result.suspect.message}")
    if job is not None and job.cancel_requested_at and not job.state.is_final:
        return "cancel asked for"
    return "was there already" if entry.created is False else ""


def _details(job: Job) -> dict[str, str]:
    request, failure, result = job.request, job.failure, job.result
    parameters = request.parameters().items()
    options = {
        name: value for name, value in parameters if value is not None and value is not False
    }
    suspicion = result.suspect if result else None
    return {
        "id": str(job.id),
        "state": f"{job.state.value} {job.progress:.0%}"
        if job.state is JobState.RUNNING
        else job.state.value,
        "instruction": request.instruction,
        "model": f"{request.model} ({request.profile})",
        "options": "  ".join(f"{name} {value}" for name, value in options.items()),
        "seed": str(request.seed),
        "batch": job.batch or "",
        "replay of": str(job.replay_of or ""),
        "priority": job.priority.name.lower(),
        "metadata": "  ".join(f"{name}={value}" for name, value in job.metadata.items()),
        "submitted": _when(job.created_at),
        "waits until": _when(job.not_before) if job.state is JobState.QUEUED else "",
        "starts by": _when(job.start_by) if job.state is JobState.QUEUED else "",
        "started": _when(job.started_at),
        "finished": _when(job.finished_at),
        "attempts": f"{job.attempt}, {job.failures} of {job.max_failures} failures",
        "cancel": "asked for" if job.cancel_requested_at and not job.state.is_final else "",
        "failure": f"{failure.failure_class.value}: {failure.message}" if failure else "",
        "result": f"{result.width}×{result.height}, {result.bytes:,} bytes" if result else "",
        "suspect": f"{suspicion.code}: {suspicion.message}" if suspicion else "",
        "expires": _when(job.expires_at) if job.result_deleted_at is None else "",
        "deleted": _when(job.result_deleted_at),
    }


def _styled(state: JobState, value: str, is_state: bool) -> Text:  # noqa: FBT001
    return Text(printable(value), style=STYLES[state] if is_state else "")


def _when(instant: datetime | None) -> str:
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S") if instant else ""


def _move(move: Move) -> list[str]:
    before = move.from_state.value if move.from_state else "-"
    cells = [_when(move.at), before, move.to_state.value, str(move.attempt), move.who, move.why]
    return [printable(cell) for cell in cells]
