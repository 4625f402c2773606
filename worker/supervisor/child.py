"""One worker process: started for a card, asked to end, killed.  It does not outlive us."""

from __future__ import annotations

import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Self
from uuid import UUID, uuid4

from jobs.errors import BadSettings, Unavailable
from worker.pages import LOOPBACK
from worker.supervisor.inventory import Slot
from worker.supervisor.settings import child_environment

#: Below the range that Linux takes for outgoing connections: none of those can take a port
#: between our choice and the child's start.
PORTS: Final = range(22_000, 32_000)
TRIES: Final = 200
LAST_LINES: Final = 20
UNKILLABLE: Final = 15.0  # seconds

# Runs between us and the worker, in the process that becomes the worker.  It is no preexec_fn,
# because that would run Python between fork and exec, which may deadlock: we have threads.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
owner, cpus, *command = sys.argv[1:]
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(owner):
        sys.exit("the supervisor is gone")
    if cpus:
        os.sched_setaffinity(0, map(int, cpus.split(",")))
try:
    os.execv(command[0], command)
except OSError as error:
    print(f"{command[0]}: {error.strerror}", file=sys.stderr)
    sys.exit(3)
"""


@dataclass(frozen=True, slots=True)
class Program:
    """What starts a worker: this interpreter, or whatever an unpacked environment's path names
    at that moment."""

    folder: Path | None = None

    def resolve(self) -> tuple[str, ...]:
        """Its command, by its real path: the path may lead elsewhere tomorrow.

        Raises ``BadSettings``.
        """
        if self.folder is None:
            return (sys.executable, "-m", "worker")
        real = self.folder.resolve()
        if (real / "bin" / "packshot-worker").is_file():
            return (str(real / "bin" / "packshot-worker"),)
        if (real / "bin" / "python").exists():
            return (str(real / "bin" / "python"), "-m", "worker")
        raise BadSettings(
            f"--env {self.folder}: {real} has neither bin/packshot-worker nor bin/python"
        )


@dataclass(kw_only=True)
class Child:
    """What it says on its standard error is passed on, and its last lines are kept.

    It dies with the *thread* that started it (on Linux), even if that dies of SIGKILL.
    """

    command: tuple[str, ...]
    port: int
    worker_id: UUID
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    killed_for: str = ""
    _killed_at: float = math.inf
    _said: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    def __post_init__(self) -> None:
        assert self.process.stderr is not None, "started with a pipe"
        self._ears = threading.Thread(
            target=self._listen, args=(self.process.stderr,), name="stderr", daemon=True
        )
        self._ears.start()

    @classmethod
    def start(cls, slot: Slot, program: Program) -> Self:
        """Raises ``BadSettings`` if there is nothing to start."""
        command, port, worker_id = program.resolve(), free_port(), uuid4()
        cpus = ",".join(map(str, sorted(slot.cpus)))
        launcher = (sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), cpus)
        process = subprocess.Popen(  # noqa: S603 - our own command
            (*launcher, *command, "run", "--card", slot.name),
            env=child_environment(slot, worker_id=worker_id, health_port=port),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # A session of its own: Ctrl-C reaches us alone, and we tell our children.
            start_new_session=True,
        )
        return cls(command=command, port=port, worker_id=worker_id, process=process)

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return self.process.poll()

    @property
    def killed_for_long(self) -> bool:
        """And still there."""
        return time.monotonic() - self._killed_at > UNKILLABLE

    @property
    def last_words(self) -> str:
        """Once it has ended: its last line."""
        self._ears.join(timeout=1.0)
        return self._said[-1] if self._said else ""

    def end(self) -> None:
        """Ask it to; asked twice, it gives back at once what it has in hand."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def kill(self, why: str) -> None:
        """It and what it has started itself."""
        if self.process.poll() is None:
            self.killed_for = self.killed_for or why
            self._killed_at = min(self._killed_at, time.monotonic())
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                if text:
                    self._said.append(text)
                print(text, file=sys.stderr, flush=True)  # noqa: T201 - passed on as it is


def free_port() -> int:
    """Where nobody listens now.  Raises ``Unavailable``."""
    for _ in range(TRIES):
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((LOOPBACK, port))
                return port
    raise Unavailable(f"no free port on {LOOPBACK} in {PORTS}")
