"""What a check found: a verdict, what it saw, and what to do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.connect import Services
from jobs.errors import BadSettings, Unavailable
from worker.settings import WorkerSettings


class Verdict(StrEnum):
    FINE = "fine"
    WARNING = "warning"  #: a worker runs all the same
    PROBLEM = "problem"  #: it does not, or not for long
    SKIPPED = "skipped"


STYLES: Final = {
    Verdict.FINE: "green",
    Verdict.WARNING: "yellow",
    Verdict.PROBLEM: "bold red",
    Verdict.SKIPPED: "dim",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """``to_do`` is empty where there is nothing to do."""

    verdict: Verdict
    found: str
    to_do: str = ""


def fine(found: str) -> Finding:
    return Finding(verdict=Verdict.FINE, found=found)


def warning(found: str, to_do: str) -> Finding:
    return Finding(verdict=Verdict.WARNING, found=found, to_do=to_do)


def problem(found: str, to_do: str) -> Finding:
    return Finding(verdict=Verdict.PROBLEM, found=found, to_do=to_do)


def skipped(why: str) -> Finding:
    return Finding(verdict=Verdict.SKIPPED, found=why)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Where the checks look."""

    settings: WorkerSettings
    services: Services
    deep: bool = False  #: load the model, which takes as long as a worker's start
    clock: Callable[[], datetime] = now


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """``look`` may raise a ``JobsError``, whose message is then the problem."""

    name: str
    look: Callable[[Site], Finding]
    needs: str = ""  #: the check without which this one has nothing to look at
    exit_code: int = Unavailable.exit_code


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    check: str
    finding: Finding
    exit_code: int = BadSettings.exit_code

    def as_json(self) -> dict[str, str]:
        return {"check": self.check, **asdict(self.finding)}


def exit_code(rows: Sequence[Row]) -> int:
    """That of the first problem, by the table of errors; 0 where warnings are all there is."""
    problems = [row for row in rows if row.finding.verdict is Verdict.PROBLEM]
    return problems[0].exit_code if problems else 0


def show(rows: Sequence[Row], *, as_json: bool) -> str:
    """What the command prints: a table on a terminal, elsewhere a line per check."""
    if as_json:
        return json.dumps([row.as_json() for row in rows], ensure_ascii=False)
    if not sys.stdout.isatty():
        return "\n".join("\t".join(row.as_json().values()).rstrip() for row in rows)
    screen = Console(markup=False, emoji=False, highlight=False)
    with screen.capture() as capture:
        screen.print(_table(rows))
    return capture.get().rstrip()


def _table(rows: Sequence[Row]) -> Table:
    table = Table("check", "verdict", "found", "what to do", box=None, pad_edge=False)
    for row in rows:
        verdict = row.finding.verdict
        cells = (row.finding.found, row.finding.to_do)
        table.add_row(row.check, Text(verdict, style=STYLES[verdict]), *map(Text, cells))
    return table
