"""``jobs.dispatch.Dispatcher`` that keeps its messages in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jobs.errors import Unavailable
from jobs.model import JobId


class RecordingDispatcher:
    """Thread-safe.  Set ``away`` to have it refuse, as a broker that is not there."""

    def __init__(self) -> None:
        self.away = False
        self.sent: list[tuple[str, JobId]] = []  #: every message there ever was, in order
        self._lock = threading.Lock()
        self._held: list[tuple[str, JobId]] = []
        self._turns: set[str] = set()  # queues that somebody is filling

    def ready(self) -> bool:
        return not self.away

    def dispatch(self, queue: str, job_ids: Sequence[JobId]) -> None:
        if self.away:
            raise Unavailable("the broker in memory is away")
        with self._lock:
            messages = [(queue, job_id) for job_id in job_ids]
            self.sent += messages
            self._held += messages

    @contextmanager
    def turn(self, queue: str) -> Iterator[bool]:
        with self._lock:
            mine = not self.away and queue not in self._turns
            self._turns |= {queue} if mine else set()
        try:
            yield mine
        finally:
            if mine:
                self._turns.discard(queue)

    def length(self, queue: str) -> int:
        if self.away:
            raise Unavailable("the broker in memory is away")
        with self._lock:
            return sum(name == queue for name, _ in self._held)

    def waiting(self, queue: str) -> set[JobId]:
        if self.away:
            raise Unavailable("the broker in memory is away")
        with self._lock:
            return {job_id for name, job_id in self._held if name == queue}

    def deliver(self, queue: str) -> JobId | None:
        """Not of the port: take the oldest message of a queue, acknowledged at once."""
        with self._lock:
            message = next((one for one in self._held if one[0] == queue), None)
            if message is None:
                return None
            self._held.remove(message)
            return message[1]

    def lose_all(self) -> None:
        """Not of the port: what the loss of Redis does."""
        with self._lock:
            self._held.clear()
