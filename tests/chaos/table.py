"""The table that people read, and the JSON that machines read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.chaos.checker import Violation

#: What the run is judged by, in this order; the rest goes to the JSON alone.
SHOWN: Final = (
    "submitted",
    "acknowledged",
    "succeeded",
    "failed",
    "cancelled",
    "lost",
    "doubled",
    "changed",
    "stuck",
    "orphaned_objects",
    "zombie_writes_refused",
    "longest_recovery_s",
    "longest_recovery_with_postgres_up_s",
    "longest_redis_list",
)
SAID: Final = {"changed": "changed after announcement", "redis": "Redis", "postgres": "Postgres"}
MOST: Final = 20  # violations shown


def lines(counts: Mapping[str, Any], violations: Sequence[Violation]) -> list[str]:
    """Markdown, so that it can stand in the documentation as it is."""
    rows = [f"| {_words(name)} | {_value(counts[name])} |" for name in SHOWN]
    shown = [f"{one.kind}: {one.what}: {one.why}" for one in violations[:MOST]]
    more = len(violations) - len(shown)
    return ["| | |", "|---|---|", *rows, *shown, *([f"and {more} more"] if more else [])]


def save(path: Path, counts: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")


def _words(name: str) -> str:
    words = name.removesuffix("_s").replace("_", " ")
    for word, said in SAID.items():
        words = words.replace(word, said)
    return f"{words}, s" if name.endswith("_s") else words


def _value(value: object) -> str:
    if isinstance(value, dict):
        total = sum(value.values())
        return f"{total} ({', '.join(f'{k} {v}' for k, v in value.items())})" if value else "0"
    return f"{value:,}" if isinstance(value, int) else str(value)
