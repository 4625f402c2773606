"""The Celery side: one task, and a gate before the queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import MethodType
from typing import Any, Final
from uuid import UUID

import redis
from celery import Celery, bootsteps
from celery.exceptions import WorkerShutdown
from celery.worker import WorkController, state
from celery.worker.consumer.consumer import (  # type: ignore[attr-defined]  # its types lack them
    CONNECTION_ERROR,
    CONNECTION_RETRY,
)
from celery.worker.control import Panel
from kombu import Queue
from kombu.asynchronous import set_event_loop

from jobs.celery_dispatch import make_app
from jobs.dispatch import EDIT_IMAGE
from jobs.model import JobId
from jobs.outage import Outage
from worker.card.gate import MAX_AFTER
from worker.intake.intake import Intake

log = logging.getLogger(__name__)
CELERYS: Final = "celery.worker.consumer.consumer"  # log of what its consumer meets

#: Celery's event loop asks this often whether it may take a message, if nobody wakes it: seconds.
ASK_EVERY: Final = 0.25
#: And this soon where a task that ended is about to be taken off Celery's list: seconds.
ASK_SOON: Final = 0.005
#: A loop that ended begins anew after so many seconds.
PAUSE: Final = 2.0


class GateStep(bootsteps.StartStopStep):
    """Takes a message only when the worker has room for a job.

    Wraps ``can_consume`` of the channel, as Celery's own ``worker_disable_prefetch`` does;
    runs again after each reconnection, with the new channel.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)
    loop: Loop

    def start(self, parent: Any) -> None:  # noqa: ANN401 - Celery's consumer has no types
        self.loop.leave_if_abandoned()
        self.loop.runs_on(parent.hub)
        qos = parent.task_consumer.channel.qos
        allowed = qos.can_consume

        def can_consume(_qos: object) -> bool:
            return bool(self.loop.may_take() and allowed())

        qos.can_consume = MethodType(can_consume, qos)
        parent.hub.call_repeatedly(ASK_EVERY, self.loop.goes_on)


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
        register(make_app(redis_url), intake.message)
        self.outage = Outage("consumer")
        logging.getLogger(CELERYS).addFilter(partial(_is_other_news, self.outage))
        self._loop = self._fresh()

    def start(self) -> None:
        self._loop.start()

    def wake(self) -> None:
        """There is room for a message."""
        self._loop.wake()

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
        return Loop(app, self.name, self.intake, self.outage)


class Loop:
    """Celery's consumer, in a thread of its own, until it is abandoned."""

    def __init__(self, app: Celery, name: str, intake: Intake, outage: Outage) -> None:
        self.app = app
        self.name = name
        self.intake = intake
        self.outage = outage  #: of what Redis does for a consumer
        self._hub: Any = None  # Celery's event loop, of the present connection
        self._is_woken = False
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        app.steps["consumer"].add(type("OurGate", (GateStep,), {"loop": self}))

    def start(self) -> None:
        self._thread.start()

    def abandon(self) -> None:
        """It takes nothing more, and ends when whatever holds it lets go."""
        self._abandoned.set()
        self.wake()

    def runs_on(self, hub: Any) -> None:  # noqa: ANN401 - Kombu's hub has no types
        self._hub, self._is_woken = hub, False

    def wake(self) -> None:
        """From any thread: ask again now whether a message may be taken."""
        if self._hub is not None and not self._is_woken:
            self._is_woken = True
            self._hub.call_soon(self._awake)

    def _awake(self) -> None:
        """Whatever the loop does, it then asks ``may_take``."""
        self._is_woken = False
        self.leave_if_abandoned()

    def may_take(self) -> bool:
        received = len(state.reserved_requests)
        if received > self.intake.messages and not self._is_woken:
            # One is about to begin, or has just ended and Celery does not know it yet.
            self._is_woken = True
            self._hub.call_later(ASK_SOON, self._awake)
        return self.intake.wants_message(received) and not self._abandoned.is_set()

    def goes_on(self) -> None:
        """Called by the loop itself for as long as Redis lets it consume: a refusal ends it before
        the first time, and what an abandoned loop says of its own connection is true no longer."""
        self.leave_if_abandoned()
        self.outage.ends()

    def leave_if_abandoned(self) -> None:
        """Called by the loop itself: Celery then closes its connections and ends it."""
        if self._abandoned.is_set():
            raise WorkerShutdown(0)

    def _run(self) -> None:
        """Celery ends its loop at whatever it did not foresee, such as a message of garbage."""
        set_event_loop(None)  # the one of a loop before this may be stuck
        while not self._abandoned.is_set():
            try:
                self._consume()
            except redis.RedisError as error:  # full, read-only, or a right is missing
                self.outage.begins(error)
            except Exception:
                log.exception("consumer_crashed")
            self._abandoned.wait(PAUSE)

    def _consume(self) -> None:
        """Signals and their handlers are the process's own; Celery installs none here."""
        _Controller(
            app=self.app,
            hostname=self.name,
            pool_cls="threads",
            concurrency=MAX_AFTER + 2,
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        ).start()


class _Controller(WorkController):
    """Raises what ends it, where Celery's own writes a traceback, each time anew."""

    def start(self) -> None:
        try:
            with suppress(SystemExit):  # Celery's word for an end, ours or its own
                self.blueprint.start(self)  # type: ignore[union-attr]  # made with it
        finally:
            self.stop()


def _is_other_news(outage: Outage, record: logging.LogRecord) -> bool:
    """Not what Celery says at each try in vain to reach Redis: we say it once."""
    args = record.args if isinstance(record.args, tuple) else ()
    if record.msg == CONNECTION_ERROR or CONNECTION_RETRY in args:
        outage.begins(args[1])
        return False
    return True


def register(app: Celery, work_on: Callable[[JobId], None]) -> None:
    """The one task.  Celery shares it with every app of the process, so once is enough."""

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
