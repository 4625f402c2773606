"""How jobs come in: by message, by the worker's own hand, and never more than there is room for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from math import inf
from threading import Barrier, Event, Thread
from typing import cast

import pytest

from jobs.errors import WorkerFatal
from jobs.ledger import JobFilter, Ledger
from jobs.model import EditRequest, Job
from jobs.states import JobState
from tests.conformance.scenes import submitted
from tests.services import eventually
from tests.unit.worker.bench import LEASE, WORKER, Bench, new
from tests.unit.worker.test_card import Seconds
from worker.card.gate import PATIENCE
from worker.intake.intake import ALONE, IDLE, Intake


def intake_of(bench: Bench, *, clock: Seconds | None = None) -> Intake:
    return Intake(
        ledger=cast("Ledger", bench.books),
        worker=WORKER,
        runner=bench.runner,
        gate=bench.gate,
        lease=LEASE,
        on_fatal=Event().set,
        clock=clock or Seconds(),
    )


@contextmanager
def full(bench: Bench) -> Iterator[None]:
    """The worker has no room."""
    with ExitStack() as stack:
        place = bench.gate.admit()
        assert place is not None
        stack.enter_context(place)
        yield


def attempts(bench: Bench) -> int:
    return sum(len(bench.ledger.attempts(one.id)) for one in bench.ledger.list(JobFilter()))


def succeeded(bench: Bench, job: Job) -> bool:
    return bench.ledger.get(job.id).state is JobState.SUCCEEDED


# ---- by message


def test_a_message_s_job_is_done() -> None:
    bench = Bench()
    job = submitted(bench.ledger, new())

    intake_of(bench).message(job.id)

    assert bench.ledger.get(job.id).state is JobState.SUCCEEDED
    assert bench.gate.jobs == 0


def test_a_repeated_message_does_nothing() -> None:
    bench = Bench()
    job = submitted(bench.ledger, new())
    intake = intake_of(bench)

    for _ in range(3):
        intake.message(job.id)

    assert attempts(bench) == 1
    assert bench.gate.jobs == 0


def test_five_threads_with_one_message_run_it_once() -> None:
    bench = Bench()
    job = submitted(bench.ledger, new())
    intake, barrier = intake_of(bench), Barrier(5)

    def deliver() -> None:
        barrier.wait()
        intake.message(job.id)

    threads = [Thread(target=deliver) for _ in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=10)

    assert attempts(bench) == 1
    assert bench.gate.jobs == 0


def test_a_message_without_room_may_be_sent_again() -> None:
    bench = Bench()
    job = submitted(bench.ledger, new())
    bench.ledger.take_window(job.queue, size=4)
    with full(bench):
        intake_of(bench).message(job.id)

    assert bench.ledger.get(job.id).state is JobState.QUEUED
    assert bench.ledger.take_window(job.queue, size=4) == [job.id]


def test_a_message_in_an_outage_of_the_ledger_harms_nothing() -> None:
    bench = Bench()
    job = submitted(bench.ledger, new())
    bench.books.shut("claim_next", "undispatch")
    intake = intake_of(bench)

    intake.message(job.id)
    with full(bench):
        intake.message(job.id)

    assert bench.ledger.get(job.id).state is JobState.QUEUED
    assert bench.gate.jobs == 0


def test_no_message_is_wanted_while_one_is_on_its_way() -> None:
    intake = intake_of(Bench())

    assert intake.wants_message(0)
    assert not intake.wants_message(1)


def test_a_message_in_hand_does_not_count_as_on_its_way() -> None:
    wanted: list[bool] = []

    def look(_request: EditRequest, step: int) -> None:
        if step == 4:  # the last one: the card is all but free
            bench.card.step(4, 4)
            wanted.append(intake.wants_message(1))

    bench = Bench(look)
    intake = intake_of(bench)
    intake.message(submitted(bench.ledger, new()).id)

    assert wanted == [True]


def test_no_message_is_wanted_without_room() -> None:
    bench = Bench()
    with full(bench):
        assert not intake_of(bench).wants_message(0)


# ---- by the worker's own hand


def test_it_leaves_a_moment_to_messages_before_it_helps_itself() -> None:
    bench, clock = Bench(), Seconds()
    job = submitted(bench.ledger, new())
    intake = intake_of(bench, clock=clock)

    clock.now += PATIENCE / 2
    intake.look()
    assert bench.ledger.get(job.id).state is JobState.QUEUED

    clock.now += PATIENCE / 2
    intake.look()
    eventually(lambda: bench.ledger.get(job.id).state is JobState.SUCCEEDED)


def test_the_moment_begins_when_the_gate_opens() -> None:
    bench, clock = Bench(), Seconds()
    job = submitted(bench.ledger, new())
    intake = intake_of(bench, clock=clock)
    with full(bench):
        clock.now += 60.0
        intake.look()
    clock.now += PATIENCE / 2

    intake.look()

    assert bench.ledger.get(job.id).state is JobState.QUEUED


def test_while_messages_come_it_does_not_help_itself() -> None:
    """Not even if their jobs are done: each job taken by itself leaves one more such message."""
    bench, seconds = Bench(), Seconds()
    intake = intake_of(bench, clock=seconds)
    done = submitted(bench.ledger, new())
    intake.message(done.id)

    for _ in range(5):
        seconds.now += 0.7 * PATIENCE
        intake.look()
        intake.message(done.id)
    assert bench.books.calls.count("claim_next") == 6  # once for each message

    waiting = submitted(bench.ledger, new("the next one"))
    seconds.now += PATIENCE
    intake.look()
    eventually(lambda: bench.ledger.get(waiting.id).state is JobState.SUCCEEDED)


def test_a_message_whose_job_is_done_takes_the_next_one() -> None:
    bench = Bench()
    intake = intake_of(bench)
    done = submitted(bench.ledger, new())
    intake.message(done.id)
    waiting = submitted(bench.ledger, new("the next one"))

    intake.message(done.id)

    assert bench.ledger.get(waiting.id).state is JobState.SUCCEEDED


def test_a_message_does_not_make_another_tenant_wait() -> None:
    bench = Bench()
    intake = intake_of(bench)
    many = [submitted(bench.ledger, new(f"{n}", tenant="a")) for n in range(3)]
    intake.message(many[0].id)
    one = submitted(bench.ledger, new("one", tenant="b"))
    bench.ledger.take_window(one.queue, size=4)

    intake.message(many[1].id)

    assert bench.ledger.get(one.id).state is not JobState.QUEUED
    assert bench.ledger.get(many[1].id).state is JobState.QUEUED
    assert bench.ledger.get(many[1].id).dispatched_at is None  # its message is gone


def test_where_no_message_came_the_next_job_is_taken_at_once() -> None:
    bench, seconds = Bench(), Seconds()
    jobs = [submitted(bench.ledger, new(f"job {number}")) for number in range(4)]
    intake = intake_of(bench, clock=seconds)
    seconds.now += PATIENCE

    for job in jobs:
        intake.look()
        eventually(partial(succeeded, bench, job))
        eventually(lambda: bench.gate.is_open)

    assert intake.in_vain == 1


def test_messages_get_their_moment_again_and_again() -> None:
    """A consumer that could never take one would look stuck."""
    bench, seconds = Bench(), Seconds()
    intake = intake_of(bench, clock=seconds)
    heard = Event()
    intake.on_open = heard.set
    seconds.now += PATIENCE
    for number in range(2):
        submitted(bench.ledger, new(f"job {number}"))
    intake.look()
    eventually(lambda: bench.gate.is_open)
    assert not heard.is_set()

    seconds.now += ALONE
    intake.look()

    assert heard.is_set()
    assert intake.due_in() == pytest.approx(PATIENCE)


def test_a_message_is_asked_for_when_the_gate_opens() -> None:
    bench, heard = Bench(), Event()
    intake = intake_of(bench)
    intake.on_open = heard.set
    with full(bench):
        intake.look()
        assert not heard.is_set()

    intake.look()

    assert heard.is_set()


def test_it_sleeps_until_the_gate_opens() -> None:
    bench = Bench()
    intake = intake_of(bench)
    with full(bench):
        assert intake.due_in() == inf
    with bench.card.taken(lambda: None):
        bench.card.step(1, 1_000_000)
        assert 0 < intake.due_in() < inf


def test_an_empty_ledger_is_not_asked_all_the_time() -> None:
    bench, clock = Bench(), Seconds()
    intake = intake_of(bench, clock=clock)
    for _ in range(10):
        clock.now += IDLE
        intake.look()
        clock.now += IDLE * 0.4
        intake.look()
        clock.now += IDLE * 0.4
        intake.look()

    assert bench.books.calls == ["claim_next"] * 10


def test_a_claim_that_finds_nothing_leaves_its_place() -> None:
    bench, clock = Bench(), Seconds()
    intake = intake_of(bench, clock=clock)
    clock.now += PATIENCE

    intake.look()

    assert bench.gate.jobs == 0


def test_a_claim_that_the_ledger_cannot_answer_leaves_its_place() -> None:
    bench, clock = Bench(), Seconds()
    bench.books.shut("claim_next")
    intake = intake_of(bench, clock=clock)
    clock.now += PATIENCE

    intake.look()

    assert bench.books.refused == ["claim_next"]
    assert bench.gate.jobs == 0


def test_a_claim_that_crashes_leaves_its_place() -> None:
    bench, clock = Bench(), Seconds()
    bench.books.rig("claim_next", ZeroDivisionError("a bug"))
    intake = intake_of(bench, clock=clock)
    clock.now += PATIENCE

    with pytest.raises(ZeroDivisionError):
        intake.look()

    assert bench.gate.jobs == 0


def test_its_thread_survives_a_crash(caplog: pytest.LogCaptureFixture) -> None:
    bench, clock = Bench(), Seconds()
    bench.books.rig("claim_next", ZeroDivisionError("a bug"))
    job = submitted(bench.ledger, new())
    intake = intake_of(bench, clock=clock)
    intake.start()

    def done() -> bool:
        clock.now += IDLE
        return bench.ledger.get(job.id).state is JobState.SUCCEEDED

    eventually(done)
    intake.stop()

    assert caplog.messages == ["intake_crashed"]


def test_a_worker_that_drains_claims_no_more() -> None:
    bench, clock = Bench(), Seconds()
    job = submitted(bench.ledger, new())
    intake = intake_of(bench, clock=clock)
    intake.stop()
    clock.now += 60.0

    intake.look()
    intake.message(job.id)

    assert not intake.wants_message(0)
    assert bench.ledger.get(job.id).state is JobState.QUEUED


def test_a_fatal_verdict_is_passed_on() -> None:
    def fault(_request: EditRequest, _step: int) -> None:
        raise WorkerFatal("the card fell off the bus")

    bench, fatal = Bench(fault), Event()
    intake = intake_of(bench)
    intake.on_fatal = fatal.set

    intake.message(submitted(bench.ledger, new()).id)

    assert fatal.is_set()
