"""Our queues, by name, where Flower's Broker page looks for them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Self

from jobs.errors import Unavailable
from jobs.outage import Outage

if TYPE_CHECKING:
    from jobs.ledger import Ledger

LOOK_EVERY: Final = 5.0  # seconds: a worker that comes may offer what none did before


class Queues(threading.Thread):
    """Keeps the queues of a Celery app's settings those that workers have offered.

    Flower reads them there until it has inspected a worker; by itself it inspects those alone
    that live when it starts.
    """

    def __init__(self, conf: Any, ledger: Ledger, *, otherwise: str) -> None:  # noqa: ANN401 - Celery's
        """``otherwise``: the name to show while nothing was offered."""
        super().__init__(name="queues", daemon=True)
        self._conf = conf
        self._ledger = ledger
        self._outage = Outage("ledger")
        self._ended = threading.Event()
        self._show([otherwise])

    def __enter__(self) -> Self:
        self.look()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def run(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            self.look()

    def look(self) -> None:
        """With the ledger away, the names stay as they are."""
        try:
            names = {model.queue for model in self._ledger.models()}
        except Unavailable as error:
            self._outage.begins(error)
        else:
            self._outage.ends()
            self._show(sorted(names))

    def _show(self, names: list[str]) -> None:
        from kombu import Queue  # noqa: PLC0415 - keeps imports cheap

        if names:
            self._conf.task_queues = [Queue(name) for name in names]
            self._conf.task_default_queue = names[0]  # else Celery's own is listed beside them
