"""The worker process: everything started in order, and ended in order."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from enum import IntEnum
from typing import Final
from uuid import uuid4

from jobs.connect import Services
from jobs.errors import Unavailable
from jobs.model import WorkerInfo
from jobs.reconciler import Reconciler
from worker.card import Card
from worker.consumer import Consumer
from worker.engine.base import Engine
from worker.gate import Gate
from worker.intake import Intake
from worker.leases import LeaseKeeper
from worker.runner import Runner
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)

#: A job told to stop does so within a step; after this many seconds its lease is left to expire.
LAST_STEP: Final = 10.0


class Exit(IntEnum):
    """How a worker process ends; the rest of the table stands on the errors."""

    DRAINED = 0
    FATAL = 70  #: only a new process helps (sysexits.h: EX_SOFTWARE)


class WorkerProcess:
    """One card, one engine.  The engine is loaded before anything is consumed."""

    def __init__(self, settings: WorkerSettings, services: Services, engine: Engine) -> None:
        self.settings = settings
        self.services = services
        self.engine = engine
        lease = timedelta(seconds=settings.lease_seconds)
        self.info = WorkerInfo(
            id=uuid4(),
            holder=f"{socket.gethostname()}/{engine.card}/{os.getpid()}",
            card=engine.card,
            model=engine.model,
            release=settings.release,
        )
        ledger = services.ledger
        card = Card()
        self.gate = Gate(card)
        self.keeper = LeaseKeeper(ledger, self.info, lease=lease)
        self.runner = Runner(
            ledger=ledger,
            artifacts=services.artifacts,
            engine=engine,
            card=card,
            keeper=self.keeper,
        )
        self.intake = Intake(
            ledger=ledger,
            worker=self.info,
            runner=self.runner,
            gate=self.gate,
            lease=lease,
            on_fatal=self._fatal,
        )
        self.consumer = Consumer(
            settings.redis_url.get_secret_value(),
            queue=engine.model.queue,
            name=f"{engine.model.name}@{self.info.holder}",
            intake=self.intake,
        )
        self.reconciler = Reconciler(ledger=ledger, dispatcher=services.dispatcher)
        self.exit = Exit.DRAINED
        self._stop = threading.Event()  # drain
        self._now = threading.Event()  # and do not wait for the jobs in hand

    def run(self) -> Exit:
        """Until a signal or a fatal error.  Raises ``Unavailable`` if it cannot start."""
        self.services.check()
        self.services.ledger.register(self.info)
        self._listen()
        self.keeper.start()
        ticker = threading.Thread(target=self._tick, name="reconciler", daemon=True)
        ticker.start()
        self.intake.start()
        self.consumer.start()
        model = self.engine.model
        log.info(
            "worker_ready",
            extra={
                "holder": self.info.holder,
                "model": model.name,
                "revision": model.revision,
                "queue": model.queue,
                "profiles": ",".join(model.profiles),
            },
        )
        while not self._stop.wait(1.0):
            pass
        self._drain()
        return self.exit

    def _drain(self) -> None:
        """Claim no more; end with the jobs in hand, or give them back at the time limit."""
        log.info("draining", extra={"jobs": len(self.keeper.held())})
        self.intake.stop()
        self._quietly(lambda: self.services.ledger.retire(self.info.id))
        if not self._wait_idle():
            self.runner.closing.set()
            self.keeper.give_back("the worker is ending")
            self.keeper.wait_idle(LAST_STEP)
        self.keeper.stop()
        self.engine.close()
        log.info("worker_ended", extra={"holder": self.info.holder, "exit": int(self.exit)})

    def _wait_idle(self) -> bool:
        waited = 0.0
        while waited < self.settings.drain_seconds and not self._now.is_set():
            if self.keeper.wait_idle(0.1):
                return True
            waited += 0.1
        return self.keeper.wait_idle(0)

    def _listen(self) -> None:
        """A first SIGTERM or SIGINT drains, a second one gives the jobs back at once."""

        def heard(_number: int, _frame: object) -> None:
            if self._stop.is_set():
                self._now.set()
            self._stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, heard)

    def _fatal(self) -> None:
        """The card is lost to this process: finish what is off the card, then end."""
        self.exit = Exit.FATAL
        self._stop.set()

    def _tick(self) -> None:
        """Every second or so; at random, so that the workers of a fleet take turns."""
        pause = self.settings.tick_seconds
        while not self._stop.wait(pause * random.uniform(0.5, 1.5)):  # noqa: S311 - no secret
            self._quietly(self.reconciler.tick)

    def _quietly(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Unavailable as error:
            log.warning("ledger_away", extra={"reason": str(error)})
        except Exception:
            # A thread that died would be noticed by nobody; the next tick may do better.
            log.exception("tick_crashed")
