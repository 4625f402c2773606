"""Jobs that are shorter than a commit are claimed several at once; others never."""

from __future__ import annotations

from jobs.states import JobState
from tests.conformance.scenes import submitted
from tests.services import eventually
from tests.unit.worker.bench import Bench, new
from tests.unit.worker.test_card import Seconds
from tests.unit.worker.test_intake import intake_of
from worker.card.gate import PATIENCE


def test_short_jobs_are_claimed_several_at_once() -> None:
    bench, clock = Bench(), Seconds()
    intake = intake_of(bench, clock=clock)
    bench.run(bench.lease(new("it takes no time")))
    jobs = [submitted(bench.ledger, new(f"job {number}")) for number in range(6)]
    clock.now += PATIENCE

    intake.look()

    eventually(lambda: all(bench.ledger.get(one.id).state is JobState.SUCCEEDED for one in jobs))
    eventually(lambda: bench.gate.jobs == 0)
    assert bench.books.calls.count("claim_some") == 1


def test_of_jobs_whose_length_is_unknown_one_is_claimed() -> None:
    bench = Bench()

    assert bench.gate.admit() is not None
    assert bench.gate.admit_more() == []
