"""Watches the card: a job that makes no step for long will make none any more."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from worker.card import Card
from worker.held import Held

log = logging.getLogger(__name__)

#: Looks within the patience: how exact it is, and how little a pause of the process counts.
LOOKS: Final = 20


@dataclass(kw_only=True)
class Watchdog:
    """Says once that the card hangs.

    Counts its own looks, not the clock's time: a process that was stopped for an hour and goes
    on had no chance to make a step.
    """

    card: Card
    patience: float  #: seconds without a step
    on_hung: Callable[[Held], None]
    hung: Held | None = None
    _signs: int = 0
    _silent: int = 0  # looks without a sign
    _done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()

    def _run(self) -> None:
        while self.hung is None and not self._done.wait(self.patience / LOOKS):
            self.look()

    def look(self) -> None:
        held, signs = self.card.held, self.card.signs
        if held is None or signs != self._signs:
            self._signs, self._silent = signs, 0
            return
        self._silent += 1
        if self._silent >= LOOKS:
            self.hung = held
            self._tell(held)
            self.on_hung(held)

    def _tell(self, held: Held) -> None:
        log.error(
            "card_hung",
            extra={
                "job_id": str(held.job.id),
                "attempt": held.lease.attempt,
                "steps_done": held.steps_done,
                "silent": self.patience,
                "where": _where(self.card.thread),
            },
        )


def _where(thread: int) -> str:
    """The innermost lines of a thread, for whoever looks for the reason."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - there is no other way to ask
    last = traceback.extract_stack(frame)[-3:] if frame else []
    return " > ".join(f"{one.filename}:{one.lineno} {one.name}" for one in last)
