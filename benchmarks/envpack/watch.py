"""Runs a command and says what it took: seconds, CPU seconds, memory of all its processes."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

_TICK: Final = 0.05  # seconds between two looks at the memory
_MISLEADING: Final = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")


@dataclass(frozen=True, kw_only=True)
class Took:
    seconds: float
    cpu_s: float
    #: resident memory of the command and all under it, at its highest; what two share counts twice
    peak_mb: float
    out: str

    def __add__(self, other: Took) -> Took:
        return Took(
            seconds=self.seconds + other.seconds,
            cpu_s=self.cpu_s + other.cpu_s,
            peak_mb=max(self.peak_mb, other.peak_mb),
            out=other.out,
        )


def run(*command: str | Path, also: Mapping[str, str] | None = None) -> Took:
    """Raises ``RuntimeError`` with what it said if it fails."""
    before, began = _cpu(), monotonic()
    with subprocess.Popen(  # noqa: S603 - no shell, and each program is one of ours
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**_environment(), **(also or {})},
    ) as process:
        peak = _Peak(process.pid)
        peak.start()
        out, _ = process.communicate()
        peak.over.set()
    seconds = monotonic() - began
    peak.join()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {out[-2000:]}")
    return Took(seconds=seconds, cpu_s=_cpu() - before, peak_mb=peak.bytes / 1e6, out=out)


def _environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name not in _MISLEADING}  # noqa: TID251 - pip's settings say where wheels come from


def _cpu() -> float:
    """Of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Peak(threading.Thread):
    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self.bytes, self.over = pid, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(_TICK):
            self.bytes = max(self.bytes, sum(map(_resident, _tree(self._pid))))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _read(children).split():
            yield from _tree(int(child))


def _resident(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * resource.getpagesize() if fields else 0


def _read(path: Path) -> str:
    """Nothing of a process that has just ended."""
    try:
        return path.read_text("ascii")
    except OSError:
        return ""


def megabytes(folder: Path) -> float:
    """Of the files in a folder, or of one file."""
    files: Sequence[Path] = [folder] if folder.is_file() else list(folder.rglob("*"))
    return sum(one.stat().st_size for one in files if one.is_file() and not one.is_symlink()) / 1e6
