"""Tells the workers in the background: no caller ever waits for Redis."""

from __future__ import annotations

import logging
import threading
from typing import Final

from jobs.errors import JobsError
from jobs.ledger import Ledger
from jobs.reconciler import Reconciler

log = logging.getLogger(__name__)

#: Between two rounds, in seconds: who submits a thousand jobs one by one fills a window that is
#: full once in a while, not a thousand times.  The first job of all is not kept waiting.
PAUSE: Final = 0.05


class Nudger:
    """A thread that tops up the windows of the queues it is nudged about.

    Nothing depends on it: what it does not send, the workers' reconcilers send within
    their next tick.
    """

    def __init__(self, ledger: Ledger, reconciler: Reconciler) -> None:
        self.ledger = ledger
        self.reconciler = reconciler
        self._queues: set[str] = set()
        self._changed = threading.Condition()
        self._busy = False
        self._flushing = 0
        self._thread: threading.Thread | None = None

    def nudge(self, queue: str) -> None:
        """Returns at once."""
        with self._changed:
            self._queues.add(queue)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nudger", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until all nudges were served."""
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._queues and not self._busy, timeout)
            finally:
                self._flushing -= 1

    def close(self, timeout: float) -> None:
        """As ``flush``; the thread ends, until somebody nudges again."""
        self.flush(timeout)
        with self._changed:
            self._thread = None
            self._changed.notify_all()

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queues or self._thread is not me)
                if self._thread is not me:
                    return
                queues, self._queues = self._queues, set()
                self._busy = True
            for queue in queues:
                self._fill(queue)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._flushing, PAUSE)

    def _fill(self, queue: str) -> None:
        if not self.reconciler.dispatcher.ready():
            return
        try:
            self.reconciler.fill(queue, self.ledger.queues().get(queue, 0))
        except JobsError as error:
            log.info("nudge_failed", extra={"queue": queue, "reason": str(error)})
        except Exception:
            # A thread that died would be noticed by nobody.
            log.exception("nudge_crashed", extra={"queue": queue})
