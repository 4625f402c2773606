"""What a job costs in the ledger when a thousand have ended there before, and when a million have.

The two databases take turns, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from typing import Final

from benchmarks.queued import WORKER, fill
from jobs.model import Holding, Lease, Result, output_key
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.migrate import migrate
from tests.services import fresh_database

QUEUED: Final = 2_000
ROUNDS: Final = 8
JOBS: Final = 40  # of each round


def measure(url: str, sizes: tuple[int, ...]) -> Mapping[int, float]:
    """Milliseconds of a job's claim, renewal and completion, by how many jobs ended before."""
    with ExitStack() as stack:
        ledgers = {size: stack.enter_context(_grown(url, size)) for size in sizes}
        spans: dict[int, list[float]] = {size: [] for size in sizes}
        for number in range(ROUNDS + 1):
            for size, ledger in ledgers.items():
                found = [_timed(partial(_work, ledger)) for _ in range(JOBS)]
                spans[size] += found if number else []  # the first round fills caches
        return {size: median(found) for size, found in spans.items()}


@contextmanager
def _grown(url: str, ended: int) -> Iterator[PostgresLedger]:
    with fresh_database(url) as database_url:
        database = Database(database_url)
        try:
            migrate(database)
            fill(database, queued=QUEUED, ended=ended)
            yield PostgresLedger(database)
        finally:
            database.close()


def _timed(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return 1_000 * (time.perf_counter() - began)


def _work(ledger: PostgresLedger) -> None:
    """All that a worker says to the ledger about one short job."""
    lease = ledger.claim_next(WORKER)
    assert lease is not None, "there are enough"
    ledger.renew(WORKER.id, [_holding(lease)])
    ledger.complete(lease, _result(lease), timings={"card": 0.5})


def _holding(lease: Lease) -> Holding:
    return Holding(job_id=lease.job.id, attempt=lease.attempt, steps_done=1, steps_total=2)


def _result(lease: Lease) -> Result:
    return Result(
        key=output_key(lease),
        sha256="0" * 64,
        bytes=1,
        media_type="image/png",
        width=1,
        height=1,
    )
