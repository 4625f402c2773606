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
from kombu.asynchronous import set_event_loop

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
    """Consumes one queue for as long as the process lives, through one loop after another."""

    def __init__(
        self, redis_url: str, *, queue: str, name: str, intake: Intake, drain: Callable[[], None]
    ) -> None:
        self.redis_url = redis_url
        self.queue = queue
        self.name = name
        self.intake = intake
        obey_shutdown(drain)
        self._loop = self._fresh()

    def start(self) -> None:
        self._loop.start()

    def rebuild(self) -> None:
        """Leave the present loop to itself, whatever holds it, and begin another.  Returns at once.

        The jobs in hand go on in the threads that have them.
        """
        self._loop.abandon()
        state.reset_state()  # what the old loop took and never began would shut the gate for ever
        self._loop = self._fresh()
        self._loop.start()

    def _fresh(self) -> Loop:
        app = make_app(self.redis_url)
        app.conf.task_queues = [Queue(self.queue)]
        app.conf.task_default_queue = self.queue
        register(app, self.intake.message)
        return Loop(app, self.name, self.intake)


class Loop:
    """Celery's consumer, in a thread of its own, until it is abandoned."""

    def __init__(self, app: Celery, name: str, intake: Intake) -> None:
        self.app = app
        self.name = name
        self._abandoned = threading.Event()
        self._controller: WorkController | None = None
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)

        def may_take(_step: object) -> bool:
            wanted = intake.wants_message(len(state.reserved_requests))
            return wanted and not self._abandoned.is_set()

        app.steps["consumer"].add(type("OurGate", (GateStep,), {"may_take": may_take}))

    def start(self) -> None:
        self._thread.start()

    def abandon(self) -> None:
        """It takes nothing more, and ends when whatever holds it lets go."""
        self._abandoned.set()
        if self._controller is not None:
            self._controller.signal_consumer_close()

    def _run(self) -> None:
        """Celery ends its loop at whatever it did not foresee, such as a message of garbage."""
        set_event_loop(None)  # the one of a loop before this may be stuck
        while not self._abandoned.is_set():
            try:
                self._consume()
            except Exception:
                log.exception("consumer_crashed")
            log.warning("consumer_ended", extra={"again_in": PAUSE})
            self._abandoned.wait(PAUSE)

    def _consume(self) -> None:
        """Signals and their handlers are the process's own; Celery installs none here."""
        self._controller = WorkController(
            app=self.app,
            hostname=self.name,
            pool_cls="threads",
            concurrency=MAX_AFTER + 2,
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        )
        if not self._abandoned.is_set():
            self._controller.start()
        if self._abandoned.is_set():
            self._controller.stop()  # its connections, above all


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
