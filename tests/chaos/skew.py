"""A wrong clock for one process, by Debian's libfaketime."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: Ahead; less than the quarter of an hour that S3's signatures allow.
SKEW: Final = "+600s"
REPAIR: Final = Path(__file__).parent / "skewed"
MISSING: Final = "no libfaketime here, so no worker has a wrong clock: apt-get install faketime"


def library() -> Path | None:
    """For programs with threads; ``None`` where it is not installed."""
    found = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return next(iter(sorted(found)), None)


def environment(library: Path | None) -> dict[str, str]:
    """What a process needs beside its own; nothing where there is no library."""
    if library is None:
        return {}
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": SKEW,
        # Sleeps and time-outs keep their lengths: only the calendar is wrong.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(REPAIR),
    }
