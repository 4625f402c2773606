"""Watches that messages are consumed: a consumer may be connected, silent, and stuck."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import redis

from jobs.celery_dispatch import client_of
from worker.intake.intake import Intake

log = logging.getLogger(__name__)

#: So often must the gate have stood open with no message coming, before Redis is asked.
IN_VAIN: Final = 4
#: Looks at Redis, of which all must show the same oldest message.
LOOKS: Final = 3
#: Rebuilt so often with no message consumed, only a new process is left to try.
REBUILDS: Final = 2


class Rebuildable(Protocol):
    def rebuild(self) -> None: ...


@dataclass(kw_only=True)
class ConsumptionWatch:
    """Has a consumer rebuilt that takes nothing while a fresh connection shows messages.

    The proof is one message that stays the oldest for ``patience`` seconds while this worker
    has room: had any consumer been at work, ours or another's, it would be gone.  While Redis
    is away nothing is proved, and nothing is done.
    """

    intake: Intake
    consumer: Rebuildable
    oldest: Callable[[], bytes | None]  #: asked on a fresh connection; raises what redis-py does
    on_stuck: Callable[[], None]  #: called when rebuilding did not help
    patience: float  #: seconds
    rebuilds: int = 0  #: since a message was consumed
    _came: int = 0
    _seen: bytes | None = None
    _looks: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="consumption", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()

    def _run(self) -> None:
        while not self._done.wait(self.patience / LOOKS):
            try:
                self.look()
            except Exception:
                log.exception("consumption_watch_crashed")

    def look(self) -> None:
        if self.intake.came != self._came:
            self._came, self.rebuilds = self.intake.came, 0
        if self.intake.in_vain < IN_VAIN:
            self._seen = None
            return
        oldest = self._ask()
        self._looks = self._looks + 1 if oldest is not None and oldest == self._seen else 1
        self._seen = oldest
        # A new loop has to connect first: each one is given longer than the one before.
        if oldest is not None and self._looks > LOOKS * (self.rebuilds + 1):
            self._seen = None
            self._act()

    def _ask(self) -> bytes | None:
        try:
            return self.oldest()
        except (redis.RedisError, OSError):
            return None

    def _act(self) -> None:
        if self.rebuilds >= REBUILDS:
            log.error("consumer_stuck", extra={"rebuilds": self.rebuilds})
            self.on_stuck()
            return
        self.rebuilds += 1
        log.warning("consumer_rebuilt", extra={"rebuilds": self.rebuilds})
        self.consumer.rebuild()


def oldest_message(redis_url: str, queue: str) -> bytes | None:
    """The message that the next consumer would get, seen on a connection of its own."""
    with client_of(redis_url) as client:
        found = client.lindex(queue, -1)
    assert found is None or isinstance(found, bytes)
    return found
