"""Completions of several attempts in one commit: each is still an attempt's own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Event

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DataError

from jobs.errors import LeaseLost
from jobs.model import Lease, Suspicion
from jobs.postgres.completions import Completion, complete_all
from jobs.postgres.ledger import PostgresLedger
from jobs.states import JobState
from tests.conformance.scenes import (
    TIMINGS,
    WORKER,
    claimed,
    completed,
    new,
    result,
    submitted,
    superseded_lease,
)
from tests.services import eventually

PATIENCE = 10.0  # seconds


@pytest.fixture(autouse=True)
def offered(ledger: PostgresLedger) -> None:
    ledger.register(WORKER)


def leases(ledger: PostgresLedger, count: int) -> list[Lease]:
    return [claimed(ledger, submitted(ledger, new(f"job {number}"))) for number in range(count)]


def told(lease: Lease) -> Completion:
    return Completion(lease, result(lease), TIMINGS)


def state_of(ledger: PostgresLedger, lease: Lease) -> JobState:
    return ledger.get(lease.job.id).state


def test_completions_in_one_commit_are_each_announced_and_audited(ledger: PostgresLedger) -> None:
    mine = leases(ledger, 3)
    with ledger.database.connect() as connection:
        done = complete_all(connection, [told(one) for one in mine])

    for one in mine:
        job, moves = ledger.get(one.job.id), ledger.history(one.job.id)
        assert done[one.job.id] == job
        assert job.result == result(one)
        assert (moves[-1].who, moves[-1].to_state) == (WORKER.holder, JobState.SUCCEEDED)


def test_of_completions_in_one_commit_a_stale_one_is_refused_alone(
    ledger: PostgresLedger,
) -> None:
    stale, newer = superseded_lease(ledger)
    (other,) = leases(ledger, 1)
    with ledger.database.connect() as connection:
        done = complete_all(connection, [told(stale), told(other)])

    assert set(done) == {other.job.id}
    assert state_of(ledger, newer) is JobState.RUNNING
    with pytest.raises(LeaseLost):
        completed(ledger, stale)


def test_a_row_that_another_holds_keeps_no_other_completion(ledger: PostgresLedger) -> None:
    kept, free = leases(ledger, 2)
    with ledger.database.begin() as held, ledger.database.connect() as connection:
        held.execute(
            text("SELECT id FROM job WHERE id = :id FOR UPDATE"), {"id": kept.job.id}
        ).one()
        connection.exec_driver_sql("SET lock_timeout = '1s'")
        try:
            done = complete_all(connection, [told(kept), told(free)])
        finally:
            connection.exec_driver_sql("SET lock_timeout TO DEFAULT")

    assert set(done) == {free.job.id}
    assert completed(ledger, kept).state is JobState.SUCCEEDED


def test_one_that_the_schema_refuses_hurts_no_other(ledger: PostgresLedger) -> None:
    first, good, bad = leases(ledger, 3)
    nonsense = Suspicion(code="nonsense", message="a NUL, which no row holds: \x00")
    opened, statements = Event(), []

    def while_the_first_is_written(*call: object) -> None:
        if "json_to_recordset" in str(call[2]):
            statements.append(call[2])
            assert len(statements) > 1 or opened.wait(PATIENCE)

    event.listen(ledger.database.engine, "before_cursor_execute", while_the_first_is_written)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(completed, ledger, first)]
        eventually(lambda: len(statements) == 1)
        calls.append(pool.submit(completed, ledger, good))
        tell = partial(ledger.complete, bad, replace(result(bad), suspect=nonsense))
        calls.append(pool.submit(tell, timings=TIMINGS))
        eventually(lambda: len(ledger.completions) == 2)
        opened.set()
    event.remove(ledger.database.engine, "before_cursor_execute", while_the_first_is_written)

    assert [calls[0].result().state, calls[1].result().state] == [JobState.SUCCEEDED] * 2
    with pytest.raises(DataError):
        calls[2].result()
    assert state_of(ledger, bad) is JobState.RUNNING
    assert len(statements) == 2
