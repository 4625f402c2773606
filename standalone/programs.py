"""Packshot's own processes as children: workers, API, Flower."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jobs.errors import Unavailable
from standalone.process import Command, launched

TAIL: Final = 12  # lines of a log in an error message


@dataclass
class Program:
    """One child.  It does not outlive the thread that started it (on Linux)."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        command = Command(argv=self.argv, folder=self.log.parent)
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C reaches us alone, and we stop our children in order.
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                launched(command, signal.SIGTERM),
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs, or before its start."""
        return self._process.poll() if self._process else None

    def check(self) -> None:
        """Raise ``Unavailable`` with the end of its log if it has ended."""
        code = self.exit_code
        if code is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-TAIL:]
            tail = "\n  ".join(lines) or "(empty)"
            raise Unavailable(
                f"{self.name} ended with exit code {code}; {self.log} ends:\n  {tail}"
            )

    def begin_stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait_until_stopped(self, seconds: float) -> None:
        """SIGKILL after ``seconds``."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
