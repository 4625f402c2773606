"""All cards of this host, until told to end."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final

from jobs.errors import BadSettings
from worker.exits import Exit
from worker.pulse import Pulse
from worker.supervisor.endings import Ending
from worker.supervisor.losses import Losses
from worker.supervisor.nvml import Xid
from worker.supervisor.post import Post, State
from worker.supervisor.roll import Roll

log = logging.getLogger(__name__)

TICK: Final = 0.1  # seconds between two looks at the children
ENDS: Final = frozenset({signal.SIGTERM, signal.SIGINT})


@dataclass(kw_only=True)
class Supervisor:
    """``run`` in the main thread: children die with the thread that started them.

    SIGTERM or SIGINT: every worker drains; a second one makes them give back at once what they
    have in hand.  SIGHUP: a new process on each card, one after the other.
    """

    posts: Sequence[Post]
    losses: Losses
    roll: Roll | None = None
    is_ending: bool = False
    pulse: Pulse = field(default_factory=Pulse)  #: beats after each look
    #: Errors that the driver tells of; put there by any thread.
    xids: SimpleQueue[Xid] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        #: A handler may put into such a queue at any time; see ``worker.process``.
        self._heard: SimpleQueue[int] = SimpleQueue()

    def run(self) -> int:
        """Until all workers have ended, or all cards are out; the exit code."""
        self._listen()
        while not self._is_over():
            with suppress(Empty):
                self._hear(self._heard.get(timeout=TICK))
            self.step()
        self.losses.settle()
        code = self._code()
        log.info("supervisor_ended", extra={"exit": code})
        return code

    def step(self) -> None:
        """Look at everything once."""
        while not self.xids.empty():
            self._told_of(self.xids.get())
        for post in self.posts:
            post.step()
        if self.roll is not None and not self.is_ending:
            self.roll.step()
        self.pulse.beat()

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (*ENDS, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, lambda heard, _frame: self._heard.put(heard))

    def _hear(self, number: int) -> None:
        if number in ENDS:
            self.end()
        elif number == signal.SIGHUP and not self.is_ending:
            self.reload()

    def end(self) -> None:
        """Drain; called again, hurry."""
        log.info("supervisor_ending", extra={"hurry": self.is_ending})
        for post in self.posts:
            if self.is_ending:
                post.hurry()
            else:
                post.drain(State.STOPPED)
        self.is_ending = True

    def reload(self) -> None:
        """From the first card on, whatever came of the roll before."""
        self.roll = Roll(posts=self.posts)

    def _told_of(self, xid: Xid) -> None:
        log.error("xid_error", extra={"card": xid.card, "why": xid.meaning})
        for post in self.posts:
            if post.slot.name == xid.card:
                post.xids[xid.number] += 1
                if xid.is_fatal and post.state is not State.OUT and not self.is_ending:
                    post.drain(State.OUT, xid.meaning)

    def _is_over(self) -> bool:
        if self.is_ending:
            return all(post.is_over for post in self.posts)
        return all(post.state is State.OUT for post in self.posts)

    def _code(self) -> int:
        if self.is_ending:
            return int(Exit.DRAINED)
        bad = all(post.ends[Ending.SETTINGS] for post in self.posts)
        return BadSettings.exit_code if bad else int(Exit.FATAL)
