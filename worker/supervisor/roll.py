"""A new process on each card, one card at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from worker.supervisor.post import Post, State

log = logging.getLogger(__name__)

#: A card in one of these has no process that works, and will have one.
COMING: Final = frozenset({State.STARTING, State.DRAINING, State.WAITING})


#: First those that have nothing to lose.  One that is out may be broken for good: its failure
#: keeps none from the new environment.
ORDER: Final = {State.WORKING: 1, State.OUT: 2}


class Outcome(StrEnum):
    ROLLING = "rolling"
    DONE = "done"
    STOPPED = "stopped"


@dataclass(kw_only=True)
class Roll:
    """At most one card is without a working process because of it.

    It stops at the first card whose new process does not become ready: the cards after that one
    go on with what they have.
    """

    posts: Sequence[Post]
    outcome: Outcome = Outcome.ROLLING
    why: str = ""
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._left = sorted(self.posts, key=lambda post: ORDER.get(post.state, 0))
        self._post: Post | None = None
        self._starts = 0
        log.info("roll_started", extra={"cards": ",".join(post.slot.name for post in self.posts)})

    def step(self) -> None:
        if self.outcome is not Outcome.ROLLING:
            return
        if self._post is None:
            self._take_next()
        elif self._post.starts > self._starts and self._post.state is State.WORKING:
            self.done.append(self._post.slot.name)
            self._post = None
        elif self._has_failed(self._post):
            self._stop(f"{self._post.slot.name}: {self._post.why}")

    def _take_next(self) -> None:
        if not self._left:
            self.outcome = Outcome.DONE
            log.info("roll_done", extra={"cards": ",".join(self.done)})
        elif self._may_take(self._left[0]):
            self._post = self._left.pop(0)
            self._starts = self._post.starts
            self._post.reload()

    def _may_take(self, post: Post) -> bool:
        """Not while another one is coming up, unless this one works on nothing anyway."""
        others = [one for one in self.posts if one is not post]
        return post.state is not State.WORKING or not any(one.state in COMING for one in others)

    def _has_failed(self, post: Post) -> bool:
        if post.state is State.OUT:
            return True
        return post.starts > self._starts and post.state is State.WAITING

    def _stop(self, why: str) -> None:
        self.outcome, self.why = Outcome.STOPPED, why
        left = ",".join(post.slot.name for post in self._left)
        log.error("roll_stopped", extra={"why": why, "as_they_were": left})
