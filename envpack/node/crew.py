"""A few threads that write while one reads: hashing and system calls release Python's lock."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Callable

Job = Callable[[], None]
_DEPTH = 8  # jobs, or pieces of a file, ahead of the writers: about a megabyte each
_LOOK = 0.2  # seconds between looks whether another thread has failed


class Crew:
    """Does jobs side by side.  The first that fails stops all; leaving the block raises it."""

    def __init__(self, size: int) -> None:
        self._jobs: queue.Queue[Job | None] = queue.Queue(_DEPTH)
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(size)]

    def __enter__(self) -> Crew:  # noqa: PYI034 - Self is not in 3.9
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._failure = self._failure or fault
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        if fault is None and self._failure is not None:
            raise self._failure

    def give(self, job: Job) -> None:
        """Waits while all are busy.  Raises what an earlier job has failed with."""
        self._put(self._jobs, job)

    def stream(self, consume: Callable[[Iterator[bytes]], None], pieces: Iterator[bytes]) -> None:
        """One job fed by this thread, so that what is long is never held whole."""
        feed: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
        self.give(lambda: consume(self._fed(feed)))
        for piece in pieces:
            self._put(feed, piece)
        self._put(feed, None)

    def _fed(self, feed: queue.Queue[bytes | None]) -> Iterator[bytes]:
        while True:
            try:
                piece = feed.get(timeout=_LOOK)
            except queue.Empty:
                if self._failure is not None:
                    raise self._failure from None
                continue
            if piece is None:
                return
            yield piece

    def _put(self, place: queue.Queue[Any], item: object) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                place.put(item, timeout=_LOOK)
            except queue.Full:
                continue
            return

    def _work(self) -> None:
        for job in iter(self._jobs.get, None):
            if self._failure is None:
                try:
                    job()
                except BaseException as fault:  # noqa: BLE001 - raised again by whoever gave it
                    self._failure = fault
