"""What a measurement found: a JSON file for machines, a table for people."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

FOLDER: Final = Path("build/bench")


def write(name: str, figures: Mapping[str, Any]) -> Path:
    """``build/bench/NAME.json``, with when, where and of which commit."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({**figures, "measured": _circumstances()}, indent=2) + "\n")
    return path


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    Console(width=100).print(table)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def _circumstances() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - the developer's git
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "python": platform.python_version(),
        "cores": cores(),
        "load": _load(),
    }


def cores() -> int:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return sum(line.startswith("processor") for line in lines)


def _load() -> float:
    return float(Path("/proc/loadavg").read_text().split()[0])
