"""Runs the host's and the environment's programs: bounded in time, with a clean environment."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envpack.node.settings import clean_environment


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """What a program says of its own failure usually stands there."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1][:300] if lines else f"ended with {self.code} and no word"


def run(command: Sequence[str], seconds: float, also: Mapping[str, str] | None = None) -> Ended:
    """How ``command`` ended; 127 if it does not exist, 124 if it took longer than ``seconds``."""
    try:
        done = subprocess.run(  # noqa: S603 - commands of ours, never a user's text
            list(command),
            env={**clean_environment(), **(also or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except OSError as fault:
        return Ended(127, "", f"{command[0]}: {fault.strerror}")
    except subprocess.TimeoutExpired:
        return Ended(124, "", f"{command[0]}: no end within {seconds:.0f} s")
    return Ended(
        done.returncode, *(part.decode(errors="replace") for part in (done.stdout, done.stderr))
    )
