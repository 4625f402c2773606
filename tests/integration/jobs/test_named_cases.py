"""Faults that a sceptic would try on ledger and broker: cut commits, races, thundering herds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pytest
from sqlalchemy import text

from jobs.celery_dispatch import CeleryDispatcher
from jobs.errors import IdempotencyConflict, Unavailable
from jobs.ids import new_job_id
from jobs.ledger import JobFilter, Submitted
from jobs.model import JobId, Lease, NewJob, ServedModel
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.reconciler import WINDOW_PER_WORKER, Reconciler
from jobs.states import JobState
from tests.conformance.scenes import (
    TIMINGS,
    WORKER,
    all_submitted,
    asked,
    at_once,
    claimed,
    completed,
    new,
    outcome,
    result,
    several,
    submitted,
    worker,
)
from tests.services import eventually

Answer = TypeVar("Answer")

OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture(autouse=True)
def offered(ledger: PostgresLedger) -> None:
    ledger.register(WORKER)


def again_and_again(act: Callable[[], Answer]) -> Answer:
    """As a worker tells an ending: until the ledger has answered."""
    while True:
        try:
            return act()
        except Unavailable:
            continue


# ---- case 9


def test_backends_that_are_terminated_in_a_commit_lose_and_double_nothing(
    ledger: PostgresLedger, database_url: str
) -> None:
    leases = [claimed(ledger, submitted(ledger, one)) for one in several(40)]
    over = threading.Event()
    killed: list[object] = []

    def kill() -> None:
        killer = Database(database_url)
        while not over.wait(0.005):
            with killer.connect() as connection:
                killed.extend(connection.execute(text(OTHERS)).scalars())
        killer.close()

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        done = [
            again_and_again(partial(ledger.complete, lease, result(lease), timings=TIMINGS))
            for lease in leases
        ]
    finally:
        over.set()
        killing.join()

    assert killed
    assert {job.state for job in done} == {JobState.SUCCEEDED}
    for job in done:
        # The last of those that were terminated may still lie in the pool.
        moves = again_and_again(partial(ledger.history, job.id))
        ends = [move for move in moves if move.to_state is JobState.SUCCEEDED]
        assert (len(ends), job.attempt) == (1, 1)


def test_a_write_that_was_terminated_while_it_waited_changed_nothing(
    ledger: PostgresLedger,
) -> None:
    lease = claimed(ledger)
    told: list[Exception] = []

    def complete() -> None:
        try:
            completed(ledger, lease)
        except Unavailable as error:
            told.append(error)

    def waiting(act: str = "pid") -> list[object]:
        with ledger.database.connect() as connection:
            return [*connection.execute(text(WAITING.format(act))).scalars()]

    with ledger.database.begin() as held:
        held.execute(text("SELECT 1 FROM job FOR UPDATE"))
        thread = threading.Thread(target=complete)
        thread.start()
        eventually(lambda: bool(waiting()))
        waiting("pg_terminate_backend(pid)")
        thread.join(10)

    assert len(told) == 1
    assert ledger.get(lease.job.id).state is JobState.RUNNING
    assert completed(ledger, lease).state is JobState.SUCCEEDED


WAITING = (
    "SELECT {} FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


# ---- case 12


def test_a_cancel_that_meets_the_completion_ends_in_one_of_the_two(
    ledger: PostgresLedger,
) -> None:
    for number in range(12):
        lease = claimed(ledger, submitted(ledger, new(str(number))))
        seen: list[list[JobState]] = []

        calls: list[Callable[[], object]] = [
            partial(_complete_or_confirm, ledger, lease),
            partial(ledger.cancel, lease.job.id, who="ann"),
            partial(seen_until_final, ledger, lease.job.id, seen),
        ]
        at_once(calls)

        (states,) = seen
        final = ledger.get(lease.job.id).state
        moves = [move.to_state for move in ledger.history(lease.job.id)]
        assert final in {JobState.SUCCEEDED, JobState.CANCELLED}
        assert [state for state in moves if state.is_final] == [final]
        assert set(states) <= {JobState.RUNNING, final}
        assert states == sorted(states, key=lambda state: state.is_final)


def _complete_or_confirm(ledger: PostgresLedger, lease: Lease) -> None:
    """A worker that is told of the cancel between the two obeys."""
    if ledger.get(lease.job.id).cancel_requested_at is None:
        completed(ledger, lease)
    else:
        ledger.confirm_cancel(lease)


def seen_until_final(ledger: PostgresLedger, job_id: JobId, seen: list[list[JobState]]) -> None:
    states = [ledger.get(job_id).state]
    while not states[-1].is_final:
        states.append(ledger.get(job_id).state)
    seen.append(states)


# ---- case 14


def test_a_hundred_submits_of_one_key_at_once_make_one_job(ledger: PostgresLedger) -> None:
    same = partial(outcome, ledger, new(idempotency_key="k"))
    other = partial(outcome, ledger, new("make it blue", idempotency_key="k"))
    first = submitted(ledger, new("before"))  # connections are there

    found = at_once([same] * 50 + [other] * 50)

    jobs = {one.job.id for one in found if isinstance(one, Submitted)}
    created = [one for one in found if isinstance(one, Submitted) and one.created]
    refused = [one for one in found if isinstance(one, IdempotencyConflict)]
    assert (len(jobs), len(created), len(refused)) == (1, 1, 50)
    assert ledger.counts(JobFilter()) == {JobState.QUEUED: 2}
    assert first.id not in jobs


# ---- the window


@pytest.fixture
def dispatcher(redis_url: str) -> Iterator[CeleryDispatcher]:
    dispatcher = CeleryDispatcher(redis_url)
    yield dispatcher
    dispatcher.close()


def test_there_are_never_more_than_two_windows_of_messages_in_redis(
    ledger: PostgresLedger, dispatcher: CeleryDispatcher
) -> None:
    """Four tick at once while workers take jobs by themselves and leave the messages behind."""
    crowd = ServedModel(
        name="edit", revision="r1", profile_group=f"crowd-{new_job_id()}", profiles=("crowd",)
    )
    workers = [worker(f"crowd-{number}", model=crowd) for number in range(2)]
    for one in workers:
        ledger.register(one)
    asking = [asked(f"edit {number}", profile="crowd") for number in range(120)]
    all_submitted(ledger, [NewJob(request=one) for one in asking])
    window = WINDOW_PER_WORKER * len(workers)
    lengths: list[int] = []

    def tick_and_take() -> None:
        reconciler = Reconciler(ledger=ledger, dispatcher=dispatcher)
        for _ in range(10):
            reconciler.fill(crowd.queue, len(workers))
            lengths.append(dispatcher.length(crowd.queue))
            for one in workers:
                ledger.claim_next(one)

    at_once([tick_and_take] * 4)

    assert ledger.counts(JobFilter(state=JobState.RUNNING))[JobState.RUNNING] == 80
    assert 0 < max(lengths) <= 2 * window
