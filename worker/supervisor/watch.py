"""Asks one child, again and again, how it is and what it has done."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from jobs.errors import Unavailable
from worker.pages import ASK_TIMEOUT, ask, read

log = logging.getLogger(__name__)

#: Between two looks: seconds, before and after the child was ready.
SOON: Final = 0.2
EVERY: Final = 1.0
LAST_LOOK: Final = 1.0  # seconds; who asks a process that is gone has its answer at once
SILENT: Final = "its process has not answered yet"  # an interpreter starts, for seconds


@dataclass(kw_only=True)
class Watch:
    """Tells for how long a child has been silent, or unwell by its own account.

    One look counts for what it may take at most: a supervisor that was stopped for an hour and
    goes on has not heard its children be silent for an hour.
    """

    port: int
    take: Callable[[str], None]  #: given what it shows at /metrics
    clock: Callable[[], float] = time.monotonic
    ready_at: float | None = None  #: when it was ready for the first time
    is_ready: bool = False
    release: str = ""  #: by its own account: a canary's program hands its cards over
    problems: Sequence[str] = ()  #: why it is not ready, by its own account
    silent: float = 0.0  #: seconds without an answer
    unwell: float = 0.0  #: seconds for which it says that only a new process helps
    _done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._last = self.clock()
        self._thread = threading.Thread(target=self._run, name=f"watch {self.port}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Its process has ended: what it showed last is still taken, and nothing after that.

        Taken later, the same numbers would count twice, until those of the next process came.
        """
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(LAST_LOOK)
        self.take = lambda _page: None
        self.is_ready = False

    def _run(self) -> None:
        crashed = False
        while not self._done.wait(SOON if self.ready_at is None else EVERY):
            try:
                self.look()
            except Exception:
                # Without this thread nobody would notice a worker that hangs.  Told once.
                if not crashed:
                    log.exception("watch_crashed", extra={"port": self.port})
                crashed = True
            else:
                crashed = False

    def look(self) -> None:
        try:
            is_live, ready = self._ask("/livez")["ok"], self._ask("/readyz")
            shown = read(self.port, "/metrics")
        except Unavailable as error:
            self._note(silent=True, unwell=self.unwell > 0)
            self.is_ready, self.problems = False, [SILENT if self.ready_at is None else str(error)]
            return
        self._note(silent=False, unwell=not is_live)
        self.is_ready, self.problems = bool(ready["ok"]), ready.get("problems", [])
        self.release = ready.get("release", "")  # an older worker says none
        if self.is_ready and self.ready_at is None:
            self.ready_at = self.clock()
        if shown.status is HTTPStatus.OK:  # an older worker shows none
            self.take(shown.body.decode())

    def _ask(self, path: str) -> Any:  # noqa: ANN401 - JSON
        found = ask(self.port, path)
        if "ok" not in found:
            raise Unavailable(f"what answers on port {self.port} is no worker")
        return found

    def _note(self, *, silent: bool, unwell: bool) -> None:
        now = self.clock()
        passed, self._last = min(now - self._last, EVERY + ASK_TIMEOUT), now
        self.silent = self.silent + passed if silent else 0.0
        self.unwell = self.unwell + passed if unwell else 0.0
