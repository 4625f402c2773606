"""The workers: real processes, started again as a supervisor would."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from standalone.settings import child_environment

END_TIMEOUT = 30.0  # seconds for a drain


@dataclass(kw_only=True)
class Slot:
    """One card and whatever process works on it now."""

    name: str
    card: str
    environment: Mapping[str, str]
    log: Path
    kept_down: bool = False  #: the nemesis wants it away
    process: subprocess.Popen[bytes] | None = None
    asked_to_end: bool = False
    ends: list[int] = field(default_factory=list)  #: exit codes of those that nobody ended

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        self.asked_to_end = False
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "run", "--card", self.card],
                env=child_environment(self.environment),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.is_running:
            self.asked_to_end |= number in {signal.SIGKILL, signal.SIGTERM}
            self.process.send_signal(number)

    def reap(self) -> None:
        """Note the end of a process that nobody asked to end."""
        if self.process is not None and not self.is_running:
            if not self.asked_to_end:
                self.ends.append(self.process.returncode)
            self.process = None


class Fleet:
    def __init__(self, slots: list[Slot]) -> None:
        self.slots = {slot.name: slot for slot in slots}

    def __getitem__(self, name: str) -> Slot:
        return self.slots[name]

    def revive(self) -> None:
        """Start what has ended, unless it is to stay down."""
        for slot in self.slots.values():
            slot.reap()
            if slot.process is None and not slot.kept_down:
                slot.start()

    def end(self) -> None:
        """Drain all, bounded; what does not end then is killed, and counts as such."""
        for slot in self.slots.values():
            slot.signal(signal.SIGCONT)
            slot.signal(signal.SIGTERM)
        deadline = time.monotonic() + END_TIMEOUT
        for slot in self.slots.values():
            if slot.process is not None:
                try:
                    slot.process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    slot.process.kill()
                    slot.ends.append(slot.process.wait())

    def kill(self) -> None:
        """Whatever happened before: nothing of ours is left."""
        for slot in self.slots.values():
            if slot.process is not None:
                slot.process.kill()
                slot.process.wait()

    @property
    def ended_by_themselves(self) -> list[int]:
        return [code for slot in self.slots.values() for code in slot.ends]
