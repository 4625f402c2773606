"""The Celery side: one task, and a gate before the queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import MethodType
from typing import Any, Final
from uuid import UUID

from celery import Celery, bootsteps
from celery.worker import WorkController, state
from celery.worker.control import Panel
from kombu import Queue

from jobs.celery_dispatch import make_app
from jobs.dispatch import EDIT_IMAGE
from jobs.model import JobId
from worker.gate import MAX_AFTER
from worker.intake import Intake

log = logging.getLogger(__name__)

#: How often Celery's event loop asks again whether it may take a message: seconds.
ASK_EVERY: Final = 0.02
#: A loop that ended begins anew after so many seconds.
PAUSE: Final = 2.0


class GateStep(bootsteps.StartStopStep):
    """Takes a message only when the worker has room for a job.

    Wraps ``can_consume`` of the channel, as Celery's own ``worker_disable_prefetch`` does;
    runs again after each reconnection, with the new channel.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)
    may_take: Callable[[], bool]

    def start(self, parent: Any) -> None:  # noqa: ANN401 - Celery's consumer has no types
        qos = parent.task_consumer.channel.qos
        allowed = qos.can_consume

        def can_consume(_qos: object) -> bool:
            return bool(self.may_take() and allowed())

        qos.can_consume = MethodType(can_consume, qos)
        # Without a timer the loop sleeps up to a second while the gate is shut.
        parent.hub.call_repeatedly(ASK_EVERY, _nothing)


class Consumer:
    """Consumes one queue in a thread of its own, for as long as the process lives."""

    def __init__(
        self, redis_url: str, *, queue: str, name: str, intake: Intake, drain: Callable[[], None]
    ) -> None:
        self.app = make_app(redis_url)
        self.app.conf.task_queues = [Queue(queue)]
        self.app.conf.task_default_queue = queue
        register(self.app, intake.message)
        obey_shutdown(drain)
        step = type(
            "OurGate",
            (GateStep,),
            {"may_take": lambda _self: intake.wants_message(len(state.reserved_requests))},
        )
        self.app.steps["consumer"].add(step)
        self.name = name
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        """Celery ends its loop at whatever it did not foresee, such as a message of garbage."""
        while True:
            try:
                self._consume()
            except Exception:
                log.exception("consumer_crashed")
            log.warning("consumer_ended", extra={"again_in": PAUSE})
            threading.Event().wait(PAUSE)

    def _consume(self) -> None:
        """Signals and their handlers are the process's own; Celery installs none here."""
        WorkController(
            app=self.app,
            hostname=self.name,
            pool_cls="threads",
            concurrency=MAX_AFTER + 2,
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        ).start()


def register(app: Celery, work_on: Callable[[JobId], None]) -> None:
    """The one task."""

    @app.task(name=EDIT_IMAGE)
    def edit_image(job_id: str) -> None:
        work_on(JobId(UUID(job_id)))


def obey_shutdown(drain: Callable[[], None]) -> None:
    """Flower's button and ``celery control shutdown`` drain this process.

    Celery's own answer would end the consumer alone, and the process would work on.
    """

    def shutdown(_state: object, **_options: object) -> dict[str, str]:
        """Drain, then exit."""
        drain()
        return {"ok": "draining"}

    Panel.register(shutdown)


def _nothing() -> None:
    """Only wakes the loop."""
