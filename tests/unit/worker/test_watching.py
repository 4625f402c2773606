"""What the watchers of a worker decide, look by look."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event

import redis

from tests.unit.worker.bench import Bench, new
from tests.unit.worker.test_card import Seconds
from tests.unit.worker.test_intake import intake_of
from worker.attempt.watchdog import LOOKS as LOOKS_AT_JOBS
from worker.attempt.watchdog import Hung, Watchdog
from worker.health import LEDGER_LIMIT, LOOP_LIMIT, Health, Phase
from worker.held import ON_CARD, Held
from worker.intake.consumption import IN_VAIN, LOOKS, REBUILDS, ConsumptionWatch
from worker.intake.intake import Intake
from worker.pulse import Pulse


@dataclass
class Scenario:
    """A worker with room, and what a fresh connection to Redis shows."""

    oldest: bytes | Exception | None = b"one"
    rebuilt: int = 0
    stuck: Event = field(default_factory=Event)
    intake: Intake = field(default_factory=lambda: intake_of(Bench()))

    def __post_init__(self) -> None:
        self.intake.in_vain = IN_VAIN
        self.watch = ConsumptionWatch(
            intake=self.intake,
            consumer=self,
            oldest=self._oldest,
            on_stuck=self.stuck.set,
            patience=1.0,
        )

    def rebuild(self) -> None:
        self.rebuilt += 1

    def _oldest(self) -> bytes | None:
        if isinstance(self.oldest, Exception):
            raise self.oldest
        return self.oldest

    def look(self, times: int) -> None:
        for _ in range(times):
            self.watch.look()


def test_a_message_that_stays_the_oldest_proves_a_consumer_stuck() -> None:
    scenario = Scenario()
    scenario.look(LOOKS)
    before = scenario.rebuilt
    scenario.look(1)

    assert (before, scenario.rebuilt) == (0, 1)


def test_messages_that_others_take_prove_nothing() -> None:
    scenario = Scenario()
    for number in range(10 * LOOKS):
        scenario.oldest = b"%d" % number
        scenario.look(1)

    assert scenario.rebuilt == 0


def test_a_redis_that_is_away_or_empty_proves_nothing() -> None:
    for nothing in (None, redis.ConnectionError("refused"), TimeoutError("frozen")):
        scenario = Scenario(oldest=nothing)
        scenario.look(10 * LOOKS)

        assert scenario.rebuilt == 0


def test_a_worker_without_room_proves_nothing() -> None:
    scenario = Scenario()
    scenario.intake.in_vain = IN_VAIN - 1
    scenario.look(10 * LOOKS)

    assert scenario.rebuilt == 0


def test_only_after_every_rebuild_failed_the_process_is_to_end() -> None:
    scenario = Scenario()
    scenario.look(sum(LOOKS * (number + 1) + 1 for number in range(REBUILDS)))
    before = scenario.stuck.is_set()
    scenario.look(LOOKS * (REBUILDS + 1) + 1)

    assert scenario.rebuilt == REBUILDS
    assert not before
    assert scenario.stuck.is_set()


def test_one_message_consumed_forgives_all_rebuilds() -> None:
    scenario = Scenario()
    scenario.look(LOOKS + 1)
    scenario.intake.message(Bench().lease().job.id)
    scenario.intake.in_vain = IN_VAIN  # soon after, and before the next look
    scenario.look(1)

    assert scenario.rebuilt == 1
    assert scenario.watch.rebuilds == 0


def test_an_open_gate_counts_how_often_no_message_came() -> None:
    clock = Seconds()
    intake = intake_of(Bench(), clock=clock)
    for _ in range(3):
        clock.now += 1.0
        intake.look()
    counted = intake.in_vain
    intake.message(Bench().lease().job.id)

    assert (counted, intake.in_vain) == (3, 0)


# ---- the jobs in hand


@dataclass
class Guarded:
    bench: Bench = field(default_factory=Bench)
    jobs: list[Held] = field(default_factory=list)
    hung: list[Hung] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dog = Watchdog(jobs=lambda: self.jobs, patience=1.0, on_hung=self.hung.append)

    def job(self, stage: str, instruction: str = "make it red") -> Held:
        held = Held(self.bench.lease(new(instruction)))
        held.comes_to(stage)
        self.jobs.append(held)
        return held

    def look(self, times: int) -> None:
        for _ in range(times):
            self.dog.look()


def test_a_card_without_a_step_hangs_and_a_step_begins_anew() -> None:
    scene = Guarded()
    held = scene.job(ON_CARD)
    scene.look(LOOKS_AT_JOBS)
    held.step(0, 4)  # the text is encoded
    scene.look(LOOKS_AT_JOBS)
    before = list(scene.hung)
    scene.look(1)

    assert before == []
    assert [(one.held, one.code) for one in scene.hung] == [(held, "card_hung")]


def test_a_job_that_is_stuck_beside_the_card_is_told_with_its_stage() -> None:
    scene = Guarded()
    scene.job("upload", "another")
    held = scene.job("prepare", "stuck")
    for _ in range(LOOKS_AT_JOBS + 1):
        scene.jobs[0].check()  # as whoever waits for the bucket does
        scene.look(1)

    assert scene.hung == [
        Hung(held=held, code="job_hung", why="prepare: no sign of life for 1 s"),
    ]


def test_a_worker_without_jobs_never_hangs() -> None:
    scene = Guarded()
    scene.look(10 * LOOKS_AT_JOBS)

    assert scene.hung == []


def test_each_stage_has_its_own_time() -> None:
    scene = Guarded()
    held = scene.job("decode")
    for stage in ("prepare", ON_CARD, "judge"):
        scene.look(LOOKS_AT_JOBS)
        held.comes_to(stage)

    assert scene.hung == []


def test_the_next_job_has_its_own_time() -> None:
    scene = Guarded()
    for instruction in ("one", "two", "three"):
        scene.jobs.clear()
        scene.job(ON_CARD, instruction)
        scene.look(LOOKS_AT_JOBS)

    assert scene.hung == []


# ---- health


@dataclass
class Patient:
    now: float = 0.0
    dog: Guarded = field(default_factory=Guarded)

    def __post_init__(self) -> None:
        self.leases, self.intake, self.ledger = (Pulse(self._clock) for _ in range(3))
        self.health = Health()

    def _clock(self) -> float:
        return self.now

    def works(self) -> Health:
        self.health.watch(
            leases=self.leases,
            intake=self.intake,
            ledger=self.ledger,
            watchdog=self.dog.dog,
            card=self.dog.bench.card,
        )
        return self.health

    def wait(self, seconds: float, *beating: Pulse) -> None:
        self.now += seconds
        for pulse in beating:
            pulse.beat()


def test_a_worker_that_loads_its_model_is_alive_and_not_ready() -> None:
    health = Health()

    assert health.why_not_live() == []
    assert health.why_not_ready() == ["the worker is loading"]


def test_a_loop_that_stands_still_makes_a_worker_dead() -> None:
    patient = Patient()
    health = patient.works()
    patient.wait(LOOP_LIMIT + 1, patient.intake, patient.ledger)

    assert health.why_not_live() == ["the loop of leases stands still for 91 s"]


def test_a_ledger_that_is_away_makes_a_worker_unready_and_never_dead() -> None:
    patient = Patient()
    health = patient.works()
    patient.wait(LEDGER_LIMIT + 1, patient.intake, patient.leases)

    assert health.why_not_live() == []
    assert health.why_not_ready() == ["the ledger has not answered for 31 s"]


def test_a_hung_card_makes_a_worker_dead() -> None:
    patient = Patient()
    health = patient.works()
    patient.dog.job(ON_CARD)
    patient.dog.look(LOOKS_AT_JOBS + 1)

    assert health.why_not_live() == ["the card made no step for 1 s"]


def test_a_worker_that_drains_is_alive_and_not_ready() -> None:
    patient = Patient()
    health = patient.works()
    health.phase = Phase.DRAINING
    patient.wait(timedelta(hours=1).total_seconds(), patient.leases, patient.ledger)

    assert health.why_not_live() == []
    assert health.why_not_ready() == ["the worker is draining"]
