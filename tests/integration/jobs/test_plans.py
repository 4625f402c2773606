"""No statement of a tick, and no question that people ask each second, reads all queued jobs.

Held by the plans, not by the clock: which index is read, and how many rows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import uuid4

import pytest

from benchmarks.queued import MODEL, STRANDED, TENANTS, WORKER, fill, last_job
from jobs.ledger import POSITION_LIMIT, JobFilter, Place
from jobs.model import JobId
from jobs.postgres.attempts import CLAIMANTS
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.migrate import migrate
from jobs.postgres.retention import PostgresRetention
from jobs.states import JobState
from tests.integration.jobs.plans import plans_of
from tests.services import fresh_database

QUEUED: Final = 30_000
BACKING_OFF: Final = 3_000  # and older than all others
LINES: Final = 3 * TENANTS  # of a priority and a tenant each
FEW: Final = 5 * LINES  # rows of a loose scan and of a window's worth
DAY: Final = timedelta(days=1)
TENANT: Final = JobFilter(tenant="tenant-7")


@pytest.fixture(scope="module")
def long_queue(postgres_url: str) -> Iterator[PostgresLedger]:
    with fresh_database(postgres_url) as url:
        database = Database(url)
        migrate(database)
        fill(database, queued=QUEUED, backing_off=BACKING_OFF, ended=QUEUED)
        yield PostgresLedger(database)
        database.close()


def last(ledger: PostgresLedger) -> JobId:
    return JobId(last_job(ledger.database))


Call = Callable[[PostgresLedger], object]
#: What is called, and how many rows of jobs it may read.
CALLS: Final[dict[str, tuple[Call, int]]] = {
    "queues": (lambda ledger: ledger.queues(), FEW),
    "expire": (lambda ledger: ledger.expire(), FEW),
    "wake": (lambda ledger: ledger.wake(MODEL.queue), FEW),
    "standing": (lambda ledger: ledger.standing(MODEL.queue, older_than=DAY), FEW),
    "take_window": (lambda ledger: ledger.take_window(MODEL.queue, size=8), FEW + 9 * LINES),
    "reroute": (lambda ledger: ledger.reroute(STRANDED), FEW),
    "claim_next": (lambda ledger: ledger.claim_next(WORKER), FEW + (CLAIMANTS + 1) * LINES),
    "renew": (lambda ledger: ledger.renew(WORKER.id, []), 0),
    "list newest": (lambda ledger: ledger.list(TENANT, limit=10), 10 * FEW),
    "list running": (
        lambda ledger: ledger.list(JobFilter(tenant="tenant-7", state=JobState.RUNNING), limit=16),
        FEW,
    ),
    "list failed": (
        lambda ledger: ledger.list(JobFilter(tenant="tenant-7", state=JobState.FAILED)),
        FEW,
    ),
    "list suspects": (lambda ledger: ledger.list(JobFilter(tenant="tenant-7", suspect=True)), FEW),
    "count suspects": (
        lambda ledger: ledger.counts(JobFilter(tenant="tenant-7", suspect=True)),
        FEW,
    ),
    "due results": (
        lambda ledger: PostgresRetention(ledger.database).due_results(DAY, limit=100),
        FEW,
    ),
    "due jobs": (lambda ledger: PostgresRetention(ledger.database).due_jobs(DAY, limit=100), FEW),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_long_queue_is_not_read(long_queue: PostgresLedger, call: str) -> None:
    act, most = CALLS[call]

    plans = plans_of(long_queue.database, lambda: act(long_queue))

    assert plans
    scans = [scan for plan in plans for scan in plan.scans]
    assert [scan for scan in scans if scan.node == "Seq Scan" and scan.rows > 1] == []
    assert sum(plan.rows for plan in plans) <= most


def test_another_model_s_worker_reads_none_of_the_stranded(long_queue: PostgresLedger) -> None:
    """Though it offers a profile of the name that they wait for."""
    other = replace(MODEL, name="other", profiles=("turbo",))
    long_queue.register(replace(WORKER, id=uuid4(), model=other))

    plans = plans_of(long_queue.database, lambda: long_queue.reroute(STRANDED))

    assert sum(plan.rows for plan in plans) <= FEW


def test_a_tenant_s_jobs_are_counted_in_an_index(long_queue: PostgresLedger) -> None:
    (plan,) = plans_of(long_queue.database, lambda: long_queue.counts(TENANT))

    assert {scan.index for scan in plan.scans} == {"job_by_state"}
    assert plan.rows <= 3 * (QUEUED + BACKING_OFF) // TENANTS


def test_a_place_in_the_line_is_counted_up_to_its_limit(long_queue: PostgresLedger) -> None:
    job_id = last(long_queue)
    plans = plans_of(long_queue.database, lambda: long_queue.place(job_id))

    assert long_queue.place(job_id) == Place(before=POSITION_LIMIT, starts_in=None)
    own = QUEUED // LINES  # its own line is counted before the others
    assert sum(plan.rows for plan in plans) <= POSITION_LIMIT + own + 2 * FEW


def test_jobs_that_back_off_are_not_in_the_way(long_queue: PostgresLedger) -> None:
    """A tenth of all, and the oldest."""
    lease = long_queue.claim_next(WORKER)

    assert lease is not None
    assert lease.job.attempt == 1
    assert long_queue.wake(MODEL.queue) == 0
