"""Calls that meet inside PostgreSQL, held at the very moment where they could harm each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import pytest
from sqlalchemy import event, text

from jobs.ledger import Submitted
from jobs.model import JobId
from jobs.postgres.attempts import claim_next
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.offers import Models
from jobs.postgres.submit import submit
from tests.conformance.scenes import (
    MINUTE,
    OTHER,
    QUEUE,
    WORKER,
    all_submitted,
    claimed,
    new,
    several,
)
from tests.services import eventually, let_pass_in

T = TypeVar("T")
KEYS = [f"k{number}" for number in range(9)]


@pytest.fixture(autouse=True)
def offered(ledger: PostgresLedger) -> None:
    ledger.register(WORKER)


@contextmanager
def meanwhile(*calls: Callable[[], T]) -> Iterator[list[Future[T]]]:
    """Calls on threads of their own."""
    with ThreadPoolExecutor(len(calls)) as pool:
        yield [pool.submit(call) for call in calls]


def waiting(database: Database) -> int:
    """How many sessions of this database wait for a lock."""
    statement = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with database.connect() as connection:
        return int(connection.execute(statement).scalar_one())


def ids(outcomes: list[object]) -> list[JobId]:
    return [one.job.id for one in outcomes if isinstance(one, Submitted)]


def test_batches_with_the_same_keys_in_another_order_do_not_deadlock(
    ledger: PostgresLedger,
) -> None:
    batch = [new(key, idempotency_key=key) for key in KEYS]
    there, back = partial(ledger.submit, batch), partial(ledger.submit, batch[::-1])
    with ledger.database.begin() as held:
        submit(held, batch[4:5], Models())  # both come as far as this one, from either side
        with meanwhile(there, back) as calls:
            eventually(lambda: waiting(ledger.database) == 2)
            held.rollback()

    assert ids([*calls[0].result()]) == ids([*calls[1].result()])[::-1]


def test_a_submit_waits_for_the_one_that_has_its_key(ledger: PostgresLedger) -> None:
    one = new(idempotency_key="k")
    with ledger.database.begin() as held:
        first = submit(held, [one], Models())
        with meanwhile(partial(ledger.submit, [one])) as (call,):
            eventually(lambda: waiting(ledger.database) == 1)
            held.commit()

    (second,) = call.result()
    assert isinstance(second, Submitted)
    assert not second.created
    assert ids([second]) == ids([*first])


def test_two_that_count_the_same_window_do_not_both_fill_it(ledger: PostgresLedger) -> None:
    ids = all_submitted(ledger, several(10))
    calls, between = iter([partial(ledger.take_window, QUEUE, size=5)]), []

    def once_counted(*call: object) -> None:
        """When the first has counted what stands, and has taken nothing yet."""
        if "count(" in str(call[2]):
            between.extend([take() for take in calls])

    event.listen(ledger.database.engine, "after_cursor_execute", once_counted)
    first = ledger.take_window(QUEUE, size=5)
    event.remove(ledger.database.engine, "after_cursor_execute", once_counted)

    assert list(first) == ids[:5]
    assert between == [[]]


def test_a_job_that_is_being_claimed_is_passed_over(ledger: PostgresLedger) -> None:
    one, two = all_submitted(ledger, several(2))
    with ledger.database.begin() as held:
        first = claim_next(held, WORKER, MINUTE)
        second = ledger.claim_next(OTHER)

    assert first is not None
    assert second is not None
    assert (first.job.id, second.job.id) == (one, two)


def test_a_lease_that_is_being_renewed_does_not_expire(ledger: PostgresLedger) -> None:
    lease = claimed(ledger)
    let_pass_in(ledger.database, 2 * MINUTE)
    with ledger.database.begin() as held:
        held.execute(
            text("UPDATE job SET lease_expires_at = now() + interval '1 minute' WHERE id = :id"),
            {"id": lease.job.id},
        )
        lost = ledger.expire()

    assert list(lost) == []
    assert list(ledger.expire()) == []
