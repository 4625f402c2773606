"""A queue that has just filled is not read either, though statistics tell that it is empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from jobs.model import JobId
from jobs.postgres.attempts import CLAIMANTS
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.migrate import migrate
from tests.conformance.scenes import QUEUE, WORKER, all_submitted, claimed, completed, several
from tests.integration.jobs.plans import plans_of
from tests.services import fresh_database

QUEUED: Final = 2_000
#: Of the one line: its head, and what is looked at to lock and to change it, some of it twice.
FEW: Final = 5 * CLAIMANTS

Call = Callable[[PostgresLedger, JobId], object]
CALLS: Final[dict[str, Call]] = {
    "claim_next": lambda ledger, _: ledger.claim_next(WORKER),
    "claim_next, named": lambda ledger, job_id: ledger.claim_next(WORKER, named=job_id),
    "claim_some": lambda ledger, _: ledger.claim_some(WORKER, most=8),
    "take_window": lambda ledger, _: ledger.take_window(QUEUE, size=8),
}


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[PostgresLedger]:
    """In tables that nobody has used: those that other tests have swollen make the index of the
    lines dearer by a hair, and then another one, of all that is queued, is taken and sorted.
    """
    with fresh_database(postgres_url) as url:
        database = Database(url)
        migrate(database)
        yield PostgresLedger(database)
        database.close()


@pytest.mark.parametrize("call", CALLS)
def test_a_queue_that_has_just_filled_is_not_read(ledger: PostgresLedger, call: str) -> None:
    ledger.register(WORKER)
    completed(ledger, claimed(ledger))
    with ledger.database.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE job SET (autovacuum_enabled = false)")
        connection.exec_driver_sql("ANALYZE job")
    job_ids = all_submitted(ledger, several(QUEUED))

    plans = plans_of(ledger.database, lambda: CALLS[call](ledger, job_ids[-1]))

    assert plans
    assert sum(plan.rows for plan in plans) <= FEW
