"""One card: the process that works on it, and what happens when that ends."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from jobs.errors import BadSettings, Unavailable
from worker.supervisor.child import Child, Program
from worker.supervisor.endings import Ended, Ending, ended
from worker.supervisor.inventory import Slot
from worker.supervisor.losses import Losses
from worker.supervisor.restarts import Limits, Restarts
from worker.supervisor.totals import Totals
from worker.supervisor.watch import Watch

log = logging.getLogger(__name__)


class State(StrEnum):
    """Of a card.  Values are labels of metrics."""

    STARTING = "starting"  #: a process loads its model
    WORKING = "working"
    DRAINING = "draining"  #: its process was asked to end
    WAITING = "waiting"  #: until the next process may start
    OUT = "out"  #: nobody starts a process on it until an operator says so
    STOPPED = "stopped"  #: the supervisor is ending


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """Seconds that a post waits for what."""

    start: float = 1_800.0
    silence: float = 60.0
    drain: float = 180.0  #: longer than a worker waits for its own jobs

    @property
    def unwell(self) -> float:
        """A worker whose card hangs says so and ends by itself, after the jobs off the card."""
        return self.drain + self.silence


#: After a second request to end, a worker needs no longer: seconds.
AT_ONCE: Final = 60.0


@dataclass(kw_only=True)
class Post:
    """Driven by one thread, which calls ``step`` again and again; others may read."""

    slot: Slot
    program: Program
    losses: Losses
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    clock: Callable[[], float] = time.monotonic
    state: State = State.WAITING
    why: str = ""  #: it is in this state, or how its last process ended
    child: Child | None = None
    watch: Watch | None = None
    ends: Counter[Ending] = field(default_factory=Counter)
    xids: Counter[int] = field(default_factory=Counter)  #: errors that the driver told of
    starts: int = 0

    def __post_init__(self) -> None:
        self.restarts = Restarts(limits=self.limits)
        self.totals = Totals(self.slot.name)
        self._since = self.clock()
        self._resume_at = self._since
        self._then = State.WAITING
        self._give_up_at = 0.0

    @property
    def is_ready(self) -> bool:
        return self.state is State.WORKING and self.watch is not None and self.watch.is_ready

    @property
    def age(self) -> float:
        """Seconds in this state."""
        return self.clock() - self._since

    @property
    def environment(self) -> str:
        """Whose program started its process."""
        return str(Path(self.child.command[0]).parent.parent) if self.child else ""

    @property
    def release(self) -> str:
        """What its process runs; empty until it says so."""
        return self.watch.release if self.watch else ""

    @property
    def busy_share(self) -> float | None:
        """Of the time since its process was ready, what jobs had the card for."""
        ready_at = self.watch.ready_at if self.watch else None
        if ready_at is None or not self.clock() > ready_at:
            return None
        on_card = self.totals.now("packshot_stage_seconds_total", stage="card")
        return min(1.0, on_card / (self.clock() - ready_at))

    @property
    def is_over(self) -> bool:
        """Nothing of it runs, or nothing that SIGKILL ends: the kernel waits for the card."""
        return self.child is None or self.child.killed_for_long

    # ---- what it is told

    def drain(self, then: State, why: str = "") -> None:
        """Let its process end in order, then go to that state."""
        self._then = then
        if self.child is None:
            self._enter(then, why)
            self._resume_at = self.clock()
            return
        if self.state is not State.DRAINING:
            self._give_up_at = self.clock() + self.patience.drain
            self.child.end()
        self._enter(State.DRAINING, why)

    def hurry(self) -> None:
        """It drains already: let it give back what it has in hand."""
        if self.child is not None:
            self._give_up_at = min(self._give_up_at, self.clock() + AT_ONCE)
            self.child.end()

    def reload(self) -> None:
        """A new process, from what the environment's path names now; cards that are out too."""
        self.restarts.forgive()
        self.drain(State.WAITING, "reload")

    # ---- what it does

    def step(self) -> None:
        if self.child is not None:
            self._look(self.child)
        elif self.state is State.WAITING and self.clock() >= self._resume_at:
            self._start()

    def _start(self) -> None:
        try:
            self.child = child = Child.start(self.slot, self.program)
        except BadSettings as error:
            self._follow(Ended(ending=Ending.SETTINGS, why=str(error)), worked=0.0)
            return
        except (Unavailable, OSError) as error:  # no port, no memory for a process
            self._follow(Ended(ending=Ending.CRASHED, why=f"not started: {error}"), worked=0.0)
            return
        self.starts += 1
        self.watch = Watch(port=child.port, take=self.totals.take, clock=self.clock)
        self.watch.start()
        self._enter(State.STARTING)
        facts = {"card": self.slot.name, "pid": child.process.pid, "program": child.command[0]}
        log.info("worker_started", extra=facts)

    def _look(self, child: Child) -> None:
        code = child.exit_code
        if code is not None:
            self._ended(child, code)
            return
        assert self.watch is not None, "whoever has a child has a watch"
        if self.state is State.STARTING and self.watch.ready_at is not None:
            self._enter(State.WORKING)
            log.info("card_ready", extra={"card": self.slot.name, "pid": child.process.pid})
        why = self._why_kill(self.watch)
        if why and not child.killed_for:
            log.error("worker_killed", extra={"card": self.slot.name, "why": why})
            child.kill(why)

    def _why_kill(self, watch: Watch) -> str:
        patience = self.patience
        match self.state:
            case State.STARTING if self.age > patience.start:
                return f"not ready after {patience.start:g} s"
            case State.WORKING if watch.silent > patience.silence:
                return f"it answered no probe for {patience.silence:g} s"
            case State.WORKING if watch.unwell > patience.unwell:
                return "; ".join(watch.problems) or "it called itself dead"
            case State.DRAINING if self.clock() > self._give_up_at:
                return "it did not end when asked to"
        return ""

    def _ended(self, child: Child, code: int) -> None:
        assert self.watch is not None, "whoever has a child has a watch"
        self.watch.stop()
        ready_at = self.watch.ready_at
        worked = 0.0 if ready_at is None else self.clock() - ready_at
        how = ended(code, killed_for=child.killed_for, last_words=child.last_words)
        self.losses.report(child.worker_id, how.why)
        self.totals.turn()
        self.child = self.watch = None
        level = logging.INFO if how.ending is Ending.DRAINED else logging.WARNING
        log.log(level, "worker_exited", extra={"card": self.slot.name, "why": how.reason})
        if self.state is State.DRAINING:
            self.ends[how.ending] += 1
            self._resume_at = self.clock()
            self._enter(self._then, self.why)
        else:
            self._follow(how, worked)

    def _follow(self, how: Ended, worked: float) -> None:
        self.ends[how.ending] += 1
        verdict = self.restarts.after(how, now=self.clock(), worked=worked)
        if verdict.out:
            self._enter(State.OUT, verdict.out)
            return
        self._resume_at = self.clock() + verdict.pause
        self._enter(State.WAITING, how.reason)

    def _enter(self, state: State, why: str = "") -> None:
        self.state, self.why, self._since = state, why, self.clock()
        if state is State.OUT:
            log.error("card_out", extra={"card": self.slot.name, "why": why})
