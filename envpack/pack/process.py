"""Runs the programs of others: one place, one way of failing."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from envpack.node.errors import EnvpackError

_LINES: Final = 12  # of what a program said, in an error


class ToolFailed(EnvpackError):
    """Names the program, how it ended and what it said last."""

    exit_code = 70  # EX_SOFTWARE


def run(
    argv: Sequence[str | Path],
    *,
    succeeds: Sequence[int] = (0,),
    cwd: Path | None = None,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """The ended program, with what it wrote.  Raises ``ToolFailed``."""
    words = [str(one) for one in argv]
    try:
        ended = subprocess.run(  # noqa: S603 - no shell, and each program is one of our tables
            words,
            check=False,
            capture_output=True,
            text=True,
            cwd=cwd,
            input=stdin,
            errors="replace",
        )
    except OSError as fault:
        raise ToolFailed(f"{words[0]}: cannot be started: {fault.strerror}") from fault
    if ended.returncode not in succeeds:
        raise ToolFailed(f"{words[0]}: ended with {ended.returncode}: {last_words(ended)}")
    return ended


def last_words(ended: subprocess.CompletedProcess[str]) -> str:
    """The end of what it said, on one line."""
    said = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
    return " | ".join(line.strip() for line in said[-_LINES:] if line.strip()) or "it said nothing"
