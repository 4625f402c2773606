"""The worker process: everything started in order, and ended in order."""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final
from uuid import uuid4

from jobs.connect import Services
from jobs.errors import FailureClass, LeaseLost, SchemaMismatch, Unavailable
from jobs.model import Failure, Lease, WorkerInfo
from jobs.outage import Outage
from jobs.reconciler import Reconciler
from worker.attempt.leases import LeaseKeeper
from worker.attempt.provenance import Labeller
from worker.attempt.retry import pauses
from worker.attempt.runner import Runner
from worker.attempt.watchdog import Hung, Watchdog
from worker.card.card import Card
from worker.card.gate import Gate
from worker.engine.base import Engine
from worker.exits import Exit
from worker.health import Health, Phase
from worker.held import Held
from worker.intake.consumer import Consumer
from worker.intake.consumption import ConsumptionWatch, oldest_message
from worker.intake.intake import Intake
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)

#: How often the main thread looks up from its wait: seconds.
LISTEN: Final = 0.5
#: A job told to stop does so within a step; after this many seconds it counts as stuck.
LAST_STEP: Final = 10.0
#: So often an idle worker looks whether a bucket that was away is back: seconds.
LOOK_FOR_BUCKET: Final = 5.0
#: Whoever reads its numbers, as a supervisor does each second, is given so long to see the last:
#: the attempt that ends a process would never be counted else.
LAST_LOOK: Final = 3.0
ENDING: Final = "the worker is ending"


class WorkerProcess:
    """One card, one engine.  The engine is loaded before anything is consumed."""

    def __init__(
        self,
        settings: WorkerSettings,
        services: Services,
        engine: Engine,
        health: Health | None = None,
    ) -> None:
        self.settings = settings
        self.services = services
        self.engine = engine
        self.health = health or Health()
        lease = timedelta(seconds=settings.lease_seconds)
        self.info = _info(settings, engine)
        ledger = services.ledger
        self.card = Card()
        self.gate = Gate(self.card)
        self.keeper = LeaseKeeper(ledger, self.info, lease=lease)
        self.runner = Runner(
            ledger=ledger,
            artifacts=services.artifacts,
            engine=engine,
            card=self.card,
            keeper=self.keeper,
            labeller=labeller_of(settings, engine),
            on_ended=self.health.tally.ended,
        )
        self.intake = Intake(
            ledger=ledger,
            worker=self.info,
            runner=self.runner,
            gate=self.gate,
            lease=lease,
            on_fatal=partial(self._end_as, Exit.FATAL),
        )
        self.consumer, self.consumption = self._consuming()
        self.watchdog = Watchdog(
            jobs=self.keeper.held, patience=settings.card_timeout, on_hung=self._hung
        )
        self.reconciler = Reconciler(ledger=ledger, dispatcher=services.dispatcher)
        self.exit = Exit.DRAINED
        self._signals = 0
        self._hanging: Held | None = None  # nobody needs to wait for it: the ledger knows of it
        #: A signal or a fatal verdict.  A handler may put into such a queue at any time; setting
        #: an event that its own thread is just waiting on would lock it for ever.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._ended = threading.Event()

    def _consuming(self) -> tuple[Consumer, ConsumptionWatch]:
        """Who brings messages to the intake, and who sees to it that they come."""
        redis_url, model = self.settings.redis_url.get_secret_value(), self.engine.model
        consumer = Consumer(
            redis_url,
            queue=model.queue,
            name=f"{model.name}@{self.info.holder}",
            intake=self.intake,
            drain=self._end,
        )
        self.intake.on_open = consumer.wake
        watch = ConsumptionWatch(
            intake=self.intake,
            consumer=consumer,
            oldest=partial(oldest_message, redis_url, model.queue),
            on_stuck=partial(self._end_as, Exit.STUCK),
            patience=self.settings.consumer_timeout,
        )
        return consumer, watch

    def run(self) -> Exit:
        """Until a signal or a fatal error.  Raises ``SchemaMismatch`` if it cannot start."""
        self._listen()
        if not self._join():
            return self.exit
        self.keeper.start()
        for name, act in (("reconciler", self._tick), ("store", self._look_for_bucket)):
            threading.Thread(target=act, name=name, daemon=True).start()
        self.intake.start()
        self.consumer.start()
        self.consumption.start()
        self.watchdog.start()
        self.health.watch(
            leases=self.keeper.pulse,
            intake=self.intake.pulse,
            ledger=self.keeper.answered,
            watchdog=self.watchdog,
            card=self.card,
        )
        self.health.tally.depend_on(self._outages)
        model = self.engine.model
        log.info(
            "worker_ready",
            extra={
                "model": model.name,
                "revision": model.revision,
                "queue": model.queue,
                "profiles": ",".join(model.profiles),
            },
        )
        while not self._woken(within=LISTEN):
            pass
        self._drain()
        if self.settings.health_port and self._signals < 2:
            self.health.tally.wait_read(LAST_LOOK)
        return self.exit

    @property
    def _outages(self) -> tuple[Outage, ...]:
        redis = self.services.dispatcher.outage
        return (self.keeper.outage, self.runner.outage, redis, self.consumer.outage)

    def _join(self) -> bool:
        """Be known to the ledger; an outage just now must not cost the load of a model.

        False if a signal came first.
        """
        for pause in pauses():
            try:
                self.services.check()
                self.services.ledger.register(self.info)
            except SchemaMismatch:
                raise
            except Unavailable as error:
                log.warning("waiting_for_the_ledger", extra={"reason": str(error)})
            else:
                return True
            if self._woken(within=pause):
                break
        return False

    def _woken(self, *, within: float) -> bool:
        """A signal that another thread was given by the kernel interrupts no wait of this one:
        its handler runs when this thread looks up.
        """
        try:
            self._wake.get(timeout=within)
        except Empty:
            return False
        return True

    def _drain(self) -> None:
        """Claim no more; end with the jobs in hand, or give them back at the time limit."""
        log.info("draining", extra={"jobs": len(self.keeper.held())})
        self.health.phase = Phase.DRAINING
        self._ended.set()
        self.intake.stop()
        self.consumption.stop()
        self._quietly(lambda: self.services.ledger.retire(self.info.id))
        if not self._wait_empty():
            self.keeper.give_back(ENDING)
            if not self.gate.wait_empty(LAST_STEP, but=self._still_hanging):
                self._give_back_the_stuck()
        self.keeper.stop()
        if not self.gate.jobs:
            self._quietly(self.engine.close)
        log.info("worker_ended", extra={"exit": int(self.exit)})

    def _wait_empty(self) -> bool:
        """Places, not leases: a claim that is on its way has a place already."""
        deadline = time.monotonic() + self.settings.drain_seconds
        while self._signals < 2 and time.monotonic() < deadline:
            if self.gate.wait_empty(0.1, but=self._still_hanging):
                return True
        return self.gate.wait_empty(0, but=self._still_hanging)

    def _still_hanging(self) -> int:
        """A card may go on after all, and its job leave its place: then it counts no more."""
        return int(self._hanging in self.keeper.held())

    def _give_back_the_stuck(self) -> None:
        """Their threads hang on a card or a socket; the fence refuses what they may still say."""
        for held in self.keeper.held():
            if self.watchdog.hung is not None and held is self.watchdog.hung.held:
                continue  # it failed, which counts
            log.warning("attempt_stuck", extra=held.lease.facts)
            self._quietly(partial(self._hand_back, held.lease))

    def _hand_back(self, lease: Lease) -> None:
        with suppress(LeaseLost):
            self.services.ledger.hand_back(lease, why=ENDING)

    def _listen(self) -> None:
        """A first SIGTERM or SIGINT drains, a second one gives the jobs back at once."""

        def heard(_number: int, _frame: object) -> None:
            self._signals += 1
            self._end()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, heard)

    def _end_as(self, code: Exit) -> None:
        """Only a new process helps: finish what is in hand, then end with this code."""
        self.exit = code
        self._end()

    def _hung(self, hung: Hung) -> None:
        """It fails, and the others finish; but on a card that hangs no other comes."""
        self.exit = Exit.HUNG
        self.card.is_broken |= self.card.held is hung.held
        self.intake.stop()
        failure = Failure(failure_class=FailureClass.WORKER_FATAL, code=hung.code, message=hung.why)
        self._quietly(partial(self._fail, hung.held.lease, failure))
        self._hanging = hung.held
        self._end()

    def _fail(self, lease: Lease, failure: Failure) -> None:
        """If the ledger is away, the lease runs out: that counts a failure too."""
        with suppress(LeaseLost):
            self.services.ledger.fail(lease, failure)

    def _end(self) -> None:
        """From any thread or handler: drain, then exit."""
        self._wake.put(None)

    def _tick(self) -> None:
        """Every second or so; at random, so that the workers of a fleet take turns."""
        pause = self.settings.tick_seconds
        while not self._ended.wait(pause * random.uniform(0.5, 1.5)):  # noqa: S311 - no secret
            self._quietly(self.reconciler.tick)
            self._quietly(self._be_known)

    def _look_for_bucket(self) -> None:
        """In a thread of its own: one that says nothing holds a call for half a minute."""
        while not self._ended.wait(LOOK_FOR_BUCKET):
            self._quietly(self.runner.look_for_bucket)

    def _be_known(self) -> None:
        """A ledger that was restored from a backup has never heard of this worker.

        Not oftener: whoever registers makes its model's revision the newest, and requests are
        keyed by that.
        """
        if self.keeper.is_unknown() and not self._ended.is_set():
            self.services.ledger.register(self.info)

    def _quietly(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Unavailable as error:
            log.debug("put_off", extra={"reason": str(error)})  # an outage is told once, elsewhere
        except Exception:
            # A thread that died would be noticed by nobody; the next tick may do better.
            log.exception("step_crashed")


def _info(settings: WorkerSettings, engine: Engine) -> WorkerInfo:
    return WorkerInfo(
        id=settings.worker_id or uuid4(),
        holder=settings.holder,
        card=engine.card,
        model=engine.model,
        release=settings.release,
    )


def labeller_of(settings: WorkerSettings, engine: Engine) -> Labeller | None:
    """``None`` where the settings switch it off."""
    return Labeller(model=engine.model, producer=settings.provider) if settings.provenance else None
