"""Simulated cards: kept busy by a backlog, and none idle while a job waits at another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from threading import Barrier, Event
from typing import cast

from jobs.ledger import JobFilter, Ledger
from jobs.model import EditRequest
from jobs.states import JobState
from jobs.testing import MemoryArtifacts, MemoryLedger
from tests.conformance.scenes import submitted, worker
from tests.services import eventually
from tests.unit.worker.bench import LEASE, Bench, new
from tests.unit.worker.test_card import Seconds
from worker.card.card import Card
from worker.engine.fake import DEFAULT_STEPS, FAKE_MODEL, Fault
from worker.intake.intake import Intake

SOON = timedelta(seconds=60)
FETCH = 0.03  # seconds
STEP = 0.05  # seconds
NUMBERS = count()


@dataclass
class Fleet:
    """Workers, each a card and an intake of its own, on one ledger and one bucket."""

    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    artifacts: MemoryArtifacts = field(default_factory=MemoryArtifacts)

    def bench(self, spend: Fault, card: Card | None = None) -> Bench:
        """``spend`` is what each step of an edit takes."""
        return Bench(spend, card=card or Card(), ledger=self.ledger, artifacts=self.artifacts)

    @contextmanager
    def working(self, *benches: Bench) -> Iterator[None]:
        with ExitStack() as stack:
            for number, bench in enumerate(benches):
                intake = Intake(
                    ledger=cast("Ledger", bench.books),
                    worker=worker(f"gpu-{number}", model=FAKE_MODEL),
                    runner=bench.runner,
                    gate=bench.gate,
                    lease=LEASE,
                    on_fatal=lambda: None,
                )
                stack.callback(bench.gate.wait_empty, SOON.total_seconds())
                stack.callback(intake.stop)
                intake.start()
            yield

    def submit(self, jobs: int) -> None:
        for _ in range(jobs):
            submitted(self.ledger, new(f"job {next(NUMBERS)}"))

    def eventually(self, state: JobState, jobs: int) -> None:
        eventually(lambda: self.count(state) == jobs, within=SOON)

    def count(self, state: JobState) -> int:
        return self.ledger.counts(JobFilter()).get(state, 0)


def test_with_a_backlog_the_next_job_is_ready_when_the_card_is_free() -> None:
    fleet, jobs = Fleet(), 20
    ready: list[int] = []

    def spend(_request: EditRequest, step: int) -> None:
        Event().wait(STEP)
        if step == DEFAULT_STEPS:
            ready.append(bench.gate.ready)

    bench = fleet.bench(spend)
    bench.bucket.delay("get", FETCH)
    fleet.submit(jobs)
    with fleet.working(bench):
        fleet.eventually(JobState.SUCCEEDED, jobs)

    # None can be at the end of the first one, of which nothing is known, and none at the last's.
    assert sum(ready) >= 0.7 * (jobs - 2)


def test_with_a_backlog_a_picture_is_uploaded_while_the_card_has_the_next_one() -> None:
    fleet, jobs = Fleet(), 12
    beside: list[int] = []

    def spend(_request: EditRequest, step: int) -> None:
        Event().wait(STEP)
        if step == 1:
            beside.append(bench.gate.jobs - 1)

    bench = fleet.bench(spend)
    bench.bucket.delay("put", DEFAULT_STEPS * STEP)
    fleet.submit(jobs)
    with fleet.working(bench):
        fleet.eventually(JobState.SUCCEEDED, jobs)

    assert sum(others > 0 for others in beside) >= 0.7 * (jobs - 1)


def test_few_jobs_start_at_once_each_on_a_card_of_its_own() -> None:
    fleet, cards = Fleet(), 3
    together = Barrier(cards)  # breaks, and fails the jobs, unless all three are on their cards

    def bench() -> Bench:
        clock = Seconds()

        def meet(_request: EditRequest, step: int) -> None:
            if step == 1:
                together.wait(SOON.total_seconds())
            clock.now += 10.0

        return fleet.bench(meet, Card(clock))

    with fleet.working(*[bench() for _ in range(cards)]):
        for rounds in range(1, 5):
            fleet.submit(cards)
            fleet.eventually(JobState.SUCCEEDED, rounds * cards)


def test_a_job_waits_in_the_ledger_until_a_card_is_about_to_be_free() -> None:
    fleet, clocks, near_end = Fleet(), [Seconds(), Seconds()], [Event(), Event()]

    def bench(number: int) -> Bench:
        def spend(_request: EditRequest, step: int) -> None:
            if step > 1:
                near_end[number].wait(SOON.total_seconds())
            clocks[number].now += 10.0

        return fleet.bench(spend, Card(clocks[number]))

    benches = [bench(0), bench(1)]
    fleet.submit(3)
    with fleet.working(*benches):
        eventually(lambda: [one.card.free_in() for one in benches] == [30.0, 30.0], within=SOON)
        assert not any(one.gate.is_open for one in benches)
        assert fleet.count(JobState.QUEUED) == 1

        near_end[1].set()
        fleet.eventually(JobState.SUCCEEDED, 2)
        assert benches[0].card.free_in() == 30.0  # it took none meanwhile
        near_end[0].set()
