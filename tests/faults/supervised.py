"""A supervisor as a process, with workers that run the fake engine."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from jobs.errors import Unavailable
from standalone.settings import child_environment
from tests.scene import OURS, Scene
from tests.services import eventually
from worker.pages import ask, read
from worker.supervisor.child import free_port

#: What a worker needs to start on a busy machine.
READY: Final = timedelta(seconds=90)
#: The real one: that jobs run again sooner shows that somebody handed them back.
LEASE: Final = timedelta(seconds=15)


@dataclass
class Supervised:
    """What the processes say goes to ``log``."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    def status(self) -> dict[str, Any]:
        return dict(ask(self.port, "/status"))

    def cards(self) -> dict[str, dict[str, Any]]:
        """By name; none while nobody answers."""
        with suppress(Unavailable):
            return {card["card"]: card for card in self.status()["cards"]}
        return {}

    def card(self, name: str) -> dict[str, Any]:
        eventually(lambda: name in self.cards(), within=READY)  # a busy machine may be late
        return self.cards()[name]

    def metrics(self) -> str:
        return read(self.port, "/metrics").body.decode()

    def pids(self) -> list[int]:
        return [card["pid"] for card in self.cards().values() if card["pid"]]

    def eventually_ready(self, *names: str) -> None:
        def ready() -> bool:
            cards = self.cards()
            return bool(cards) and all(cards[name]["ready"] for name in names or cards)

        eventually(ready, within=READY)

    def says(self, event: str) -> int:
        """How often the log tells of it."""
        return self.log.read_text(errors="replace").count(event)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        """Its children die with it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextmanager
def supervised(
    scene: Scene, *arguments: str, program: Sequence[str] = OURS, **settings: object
) -> Iterator[Supervised]:
    """``packshot-worker supervise …``; settings by their names, without the prefix; ``None``: what
    the program's own say."""
    port, log = free_port(), scene.folder / "supervisor.log"
    told = {
        "fake_faults": True,
        "lease_seconds": LEASE.total_seconds(),
        "supervisor_port": port,
        "restart_pause": 0.2,
        "drain_seconds": 20,
        **settings,
    }
    environment = {
        **scene.environment,
        **{f"PACKSHOT_{key.upper()}": str(one) for key, one in told.items() if one is not None},
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*program, "supervise", *arguments],
            env=child_environment(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    found = Supervised(process, log, port)
    try:
        yield found
    finally:
        found.end()


def is_alive(pid: int) -> bool:
    """A zombie is dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
