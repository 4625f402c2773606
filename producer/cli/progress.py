"""Bars on standard error while pictures go up and jobs come back; none where it is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jobs.model import Job
from jobs.states import JobState
from producer.cli.tables import console


@contextmanager
def uploading(total: int) -> Iterator[Callable[[], None]]:
    """Call what it yields, from any thread, once per edit."""
    with _bar(MofNCompleteColumn()) as bar:
        task = bar.add_task("submitting", total=total)
        yield lambda: bar.advance(task)


@contextmanager
def waiting(total: int) -> Iterator[Callable[[Sequence[Job]], None]]:
    """Call what it yields with the jobs as they are now."""
    with _bar(TextColumn("{task.fields[states]}", markup=False)) as bar:
        task = bar.add_task("waiting", total=total, states="")

        def show(jobs: Sequence[Job]) -> None:
            done = sum(1.0 if job.state.is_final else job.progress for job in jobs)
            bar.update(task, completed=done, states=_states(jobs))

        yield show


def _bar(last: TextColumn | MofNCompleteColumn) -> Progress:
    screen = console(stderr=True)
    return Progress(
        TextColumn("{task.description:10}", markup=False),
        BarColumn(bar_width=24),  # all fits into 80 columns
        TimeElapsedColumn(),
        last,
        console=screen,
        disable=not screen.is_terminal,
        redirect_stdout=False,  # a picture may be on its way there
        redirect_stderr=False,
    )


def _states(jobs: Sequence[Job]) -> str:
    counts = {state: sum(job.state is state for job in jobs) for state in JobState}
    return ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
