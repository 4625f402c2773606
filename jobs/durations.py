"""Durations as people write them: ``30s``, ``10m``, ``1h30m``, ``7d``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from jobs.errors import InvalidRequest

SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
LONGEST: Final = timedelta(days=3_650)

_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def duration(text: str) -> timedelta:
    """Raises ``InvalidRequest``."""
    compact = text.strip().lower()
    if not _WHOLE.fullmatch(compact):
        raise InvalidRequest(f"{text[:40]!r} is no duration; write 30s, 10m, 2h, 7d or 1h30m")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in _PART.findall(compact))
    if not 0 < seconds <= LONGEST.total_seconds():
        raise InvalidRequest(f"{text[:40]!r}: longer than nothing, at most {LONGEST.days} days")
    return timedelta(seconds=seconds)


def brief(span: timedelta) -> str:
    """In the largest unit that leaves at least one: ``42s``, ``3m``, ``1.5h``, ``2d``."""
    seconds = max(span.total_seconds(), 0.0)
    unit = next((unit for unit in "dhm" if seconds >= SECONDS[unit]), "s")
    value = seconds / SECONDS[unit]
    return f"{value:.1f}".removesuffix(".0") + unit if value < 10 else f"{value:.0f}{unit}"
