"""A live look at the ledger: how many jobs stand where, what runs, what came last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.ledger import JobFilter
from jobs.model import Job
from jobs.states import JobState
from producer.cli.cut import Cut
from producer.cli.entries import printable, title
from producer.cli.tables import STYLES, age, console, counted, echo_json, plain_table, state_text
from producer.client import Client

PERIOD: Final = 1.0  # seconds
PAUSES: Final = 9  # times as long as the look before: watching takes a tenth of a connection's time
RUNNING: Final = 16  # jobs shown: a card's worth of workers
NEWEST: Final = 10  # jobs shown

Shown = TypeVar("Shown")


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The ledger at one moment; of one batch, or of all the tenant's jobs."""

    counts: Mapping[JobState, int]
    suspects: int  #: pictures that a person should look at
    running: Sequence[Job]
    newest: Sequence[Job]

    @property
    def is_finished(self) -> bool:
        return not any(count for state, count in self.counts.items() if not state.is_final)

    def as_json(self) -> dict[str, Any]:
        return {
            "counts": {state.value: self.counts.get(state, 0) for state in JobState},
            "suspects": self.suspects,
            "running": [
                {"id": str(job.id), "name": title(job), "progress": round(job.progress, 3)}
                for job in self.running
            ],
        }


def snapshots(
    client: Client, batch: str | None, pause: Callable[[float], None]
) -> Iterator[Snapshot]:
    """One after another, until the batch is finished; without a batch, for ever.

    Raises ``JobNotFound`` for a batch without jobs, which would never finish.
    """
    while True:
        began = time.monotonic()
        now = _snapshot(client, batch)
        took = time.monotonic() - began
        if batch is not None and not sum(now.counts.values()):
            raise client.no_batch(batch)
        yield now
        if batch is not None and now.is_finished:
            return
        pause(max(PERIOD, PAUSES * took))


def show(seen: Iterator[Snapshot], *, as_json: bool) -> None:
    """Live on a terminal; elsewhere a line whenever something has changed."""
    screen = console()
    if as_json:
        _on_change(seen, Snapshot.as_json, echo_json)
    elif screen.is_terminal:
        with Live(console=screen, auto_refresh=False) as live:
            for snapshot in seen:
                live.update(_picture(snapshot), refresh=True)
    else:
        _on_change(seen, _line, click.echo)


def _snapshot(client: Client, batch: str | None) -> Snapshot:
    where = JobFilter(tenant=client.tenant, batch=batch)
    running = JobFilter(tenant=client.tenant, batch=batch, state=JobState.RUNNING)
    return Snapshot(
        counts=client.counts(batch=batch),
        suspects=client.suspects(batch=batch),
        running=client.list(running, limit=RUNNING),
        newest=client.list(where, limit=NEWEST),
    )


def _on_change(
    seen: Iterator[Snapshot],
    view: Callable[[Snapshot], Shown],
    tell: Callable[[Shown], object],
) -> None:
    last = None
    for snapshot in seen:
        now = view(snapshot)
        if now != last:
            tell(now)
        last = now


def _line(snapshot: Snapshot) -> str:
    counts = counted(snapshot.counts)
    if snapshot.suspects:
        counts += f"  suspect {snapshot.suspects}"
    running = "  ".join(f"{job.id} {job.progress:.0%}" for job in snapshot.running)
    return f"{counts}  | {running}" if running else counts


def _picture(snapshot: Snapshot) -> RenderableType:
    parts: list[RenderableType] = [_counts(snapshot)]
    if snapshot.running:
        parts += [Text(), _running(snapshot.running)]
    if snapshot.newest:
        parts += [Text(), _newest(snapshot.newest)]
    return Group(*parts)


def _counts(snapshot: Snapshot) -> Text:
    text = Text()
    for state in JobState:
        text.append(f"{state.value} ", style=STYLES[state])
        text.append(f"{snapshot.counts.get(state, 0):,}   ", style="bold")
    if snapshot.suspects:
        text.append("suspect ", style="yellow")
        text.append(f"{snapshot.suspects:,}", style="bold")
    return text


def _running(jobs: Sequence[Job]) -> Table:
    table = plain_table("id", "running", "", "steps", "for")
    for job in jobs:
        table.add_row(
            Text(str(job.id)),
            Cut(printable(title(job))),
            ProgressBar(total=1.0, completed=job.progress, width=10),
            Text(f"{job.steps_done}/{job.steps_total}" if job.steps_total else ""),
            Text(age(job.started_at)),
        )
    return table


def _newest(jobs: Sequence[Job]) -> Table:
    table = plain_table("id", "newest", "state", "age")
    for job in jobs:
        name = Cut(printable(title(job)))
        table.add_row(Text(str(job.id)), name, state_text(job.state), Text(age(job.created_at)))
    return table
