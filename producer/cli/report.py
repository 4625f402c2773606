"""What became of many jobs: how many ended how, why they failed, how long they took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final, Self

from rich.text import Text

from jobs.durations import brief
from jobs.model import Job
from jobs.states import JobState
from producer.cli.tables import console, plain_table, state_text
from producer.client import Client

NEWEST: Final = 1_000  # jobs looked at where no batch is named


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Of some durations, in seconds."""

    median: float
    p95: float
    longest: float

    @classmethod
    def of(cls, spans: Iterable[timedelta]) -> Self | None:
        seconds = sorted(max(span.total_seconds(), 0.0) for span in spans)
        if not seconds:
            return None
        last = len(seconds) - 1
        return cls(
            median=seconds[last // 2], p95=seconds[round(0.95 * last)], longest=seconds[last]
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """``counts`` are exact; the rest is of the ``looked_at`` newest jobs."""

    counts: Mapping[JobState, int]
    looked_at: int
    failures: Mapping[str, int]  #: class/code → jobs
    suspects: Mapping[str, int]  #: reason → pictures that a person should look at
    times: Mapping[str, Spread | None]

    def as_json(self) -> dict[str, Any]:
        return {
            "counts": {state.value: self.counts.get(state, 0) for state in JobState},
            "looked_at": self.looked_at,
            "failures": dict(self.failures),
            "suspects": dict(self.suspects),
            "seconds": {name: asdict(one) if one else None for name, one in self.times.items()},
        }


def report(client: Client, batch: str | None = None) -> Report:
    """Of a batch (raises ``JobNotFound`` if it has no job), or of the newest jobs."""
    jobs = client.list(limit=NEWEST) if batch is None else client.batch(batch, replaced=True)
    return Report(
        counts=client.counts(batch=batch),
        looked_at=len(jobs),
        failures=_failures(jobs),
        suspects=_suspects(jobs),
        times=_times(jobs),
    )


def show(found: Report) -> None:
    screen = console()
    states = plain_table("state", "jobs")
    for state in JobState:
        states.add_row(state_text(state), Text(f"{found.counts.get(state, 0):,}"))
    screen.print(states)
    for what, reasons in (("failure", found.failures), ("suspect", found.suspects)):
        if reasons:
            table = plain_table(what, "jobs")
            for reason, count in reasons.items():
                table.add_row(Text(reason), Text(f"{count:,}"))
            screen.print(Text(), table, sep="\n")
    if any(found.times.values()):
        screen.print(Text(), _table(found), sep="\n")


def _table(found: Report) -> object:
    times = plain_table(f"time ({found.looked_at:,} jobs)", "median", "95 %", "longest")
    for name, spread in found.times.items():
        if spread:
            cells = [brief(timedelta(seconds=one)) for one in asdict(spread).values()]
            times.add_row(Text(name), *map(Text, cells))
    return times


def _failures(jobs: Sequence[Job]) -> dict[str, int]:
    reasons = Counter(
        f"{job.failure.failure_class.value}/{job.failure.code}"
        for job in jobs
        if job.state is JobState.FAILED and job.failure
    )
    return dict(reasons.most_common())


def _suspects(jobs: Sequence[Job]) -> dict[str, int]:
    reasons = Counter(job.result.suspect.code for job in jobs if job.result and job.result.suspect)
    return dict(reasons.most_common())


def _times(jobs: Sequence[Job]) -> dict[str, Spread | None]:
    done = [job for job in jobs if job.state is JobState.SUCCEEDED]
    return {
        "submitted to started": Spread.of(
            job.started_at - job.created_at for job in done if job.started_at
        ),
        "started to finished": Spread.of(
            job.finished_at - job.started_at for job in done if job.started_at and job.finished_at
        ),
        "submitted to finished": Spread.of(
            job.finished_at - job.created_at for job in done if job.finished_at
        ),
    }
