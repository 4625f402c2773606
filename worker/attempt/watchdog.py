"""Watches the jobs in hand: one that gives no sign of life for long will give none any more."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from worker.held import ON_CARD, Held

log = logging.getLogger(__name__)

#: Looks within the patience: how exact it is, and how little a pause of the process counts.
LOOKS: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Hung:
    """A job whose thread only a new process gets rid of."""

    held: Held
    code: str  #: of its failure: ``card_hung``, or ``job_hung`` if it was not on the card
    why: str


@dataclass(frozen=True, slots=True)
class _Silence:
    signs: int = -1  # that a job had given when it began
    looks: int = 0


@dataclass(kw_only=True)
class Watchdog:
    """Says once that a job hangs, on the card or beside it.

    Counts its own looks, not the clock's time: a process that was stopped for an hour and goes
    on had no chance to give a sign.
    """

    jobs: Callable[[], Iterable[Held]]
    patience: float  #: seconds without a sign
    on_hung: Callable[[Hung], None]
    hung: Hung | None = None
    _silences: dict[Held, _Silence] = field(default_factory=dict)
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
        self._silences = {held: self._silence(held) for held in self.jobs()}
        for held, silence in self._silences.items():
            if silence.looks >= LOOKS:
                self.hung = self._hung(held)
                _tell(self.hung, self.patience)
                self.on_hung(self.hung)
                return

    def _silence(self, held: Held) -> _Silence:
        before, signs = self._silences.get(held, _Silence()), held.signs
        return _Silence(signs, before.looks + 1 if before.signs == signs else 0)

    def _hung(self, held: Held) -> Hung:
        if held.stage == ON_CARD:
            why = f"the card made no step for {self.patience:g} s"
            return Hung(held=held, code="card_hung", why=why)
        why = f"{held.stage or 'begin'}: no sign of life for {self.patience:g} s"
        return Hung(held=held, code="job_hung", why=why)


def _tell(hung: Hung, patience: float) -> None:
    held = hung.held
    log.error(
        hung.code,
        extra={
            **held.lease.facts,
            "stage": held.stage,
            "steps_done": held.steps_done,
            "silent": patience,
            "where": _where(held.thread),
        },
    )


def _where(thread: int) -> str:
    """The innermost lines of a thread, for whoever looks for the reason."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - there is no other way to ask
    last = traceback.extract_stack(frame)[-3:] if frame else []
    return " > ".join(f"{one.filename}:{one.lineno} {one.name}" for one in last)
