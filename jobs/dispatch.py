"""Port: telling the workers through the broker.  A hint, never the truth."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from jobs.model import JobId

#: The one Celery task.  The producer sends it by name and never imports the worker.
EDIT_IMAGE: Final = "packshot.edit_image"


class Dispatcher(Protocol):
    """Sends job ids.  A message may be lost or come twice; both are harmless."""

    def ready(self) -> bool:
        """False for a while after a failure: not worth trying now."""

    def dispatch(self, queue: str, job_ids: Sequence[JobId]) -> None:
        """Send one message per job, in order.  Raises ``Unavailable``; some may have gone out."""

    def turn(self, queue: str) -> AbstractContextManager[bool]:
        """Whether the caller may fill this queue: one at a time, on any host.

        False where another one has its turn, or the broker is away.  Who does not come back
        within seconds loses its turn.
        """

    def length(self, queue: str) -> int:
        """How many messages wait to be delivered, those of jobs long done included."""

    def waiting(self, queue: str) -> set[JobId]:
        """Jobs whose messages wait to be delivered.

        Not those that were delivered and never acknowledged: whoever had one is dead, or has
        claimed the job by now.
        """
