"""What a tick costs with 100,000 and 300,000 queued jobs: ``make bench-reconciler``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from statistics import median
from typing import Final

from benchmarks.queued import MODEL, STRANDED, WORKER, fill, last_job
from benchmarks.results import show, write
from benchmarks.servers import started
from jobs.ledger import JobFilter
from jobs.model import JobId
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.migrate import migrate
from jobs.states import JobState
from tests.services import fresh_database

SIZES: Final = (100_000, 300_000)
RUNS: Final = 15
#: What one worker's tick does, in its order.
TICK: Final = ("queues", "expire", "wake", "standing", "take window", "reroute stranded")


def calls(ledger: PostgresLedger, last: JobId) -> Mapping[str, Callable[[], object]]:
    tenant = JobFilter(tenant="tenant-7")
    running = JobFilter(tenant="tenant-7", state=JobState.RUNNING)
    failed = JobFilter(tenant="tenant-7", state=JobState.FAILED)
    suspect = JobFilter(tenant="tenant-7", suspect=True)
    return {
        "queues": ledger.queues,
        "expire": ledger.expire,
        "wake": lambda: ledger.wake(MODEL.queue),
        "standing": lambda: ledger.standing(MODEL.queue, older_than=timedelta(seconds=5)),
        "take window": lambda: taken_back(ledger),
        "reroute stranded": lambda: ledger.reroute(STRANDED),
        "claim next": lambda: claimed_back(ledger),
        "renew nothing": lambda: ledger.renew(WORKER.id, []),
        "position of the last": lambda: ledger.place(last),
        "counts": lambda: ledger.counts(tenant),
        "counts of suspects": lambda: ledger.counts(suspect),
        "list newest": lambda: ledger.list(tenant, limit=10),
        "list running": lambda: ledger.list(running, limit=16),
        "list failed": lambda: ledger.list(failed, limit=50),
    }


def taken_back(ledger: PostgresLedger) -> None:
    """Fill an empty window and empty it again."""
    ledger.undispatch(ledger.take_window(MODEL.queue, size=8))


def claimed_back(ledger: PostgresLedger) -> None:
    lease = ledger.claim_next(WORKER)
    assert lease is not None
    ledger.hand_back(lease, why="bench")


def measure(ledger: PostgresLedger, last: JobId) -> dict[str, float]:
    """Milliseconds, the median of several calls."""
    return {name: _median(call) for name, call in calls(ledger, last).items()}


def _median(call: Callable[[], object]) -> float:
    call()  # plans, and fills caches
    spans = []
    for _ in range(RUNS):
        began = time.perf_counter()
        call()
        spans.append(1_000 * (time.perf_counter() - began))
    return median(spans)


def with_rows(url: str, queued: int) -> dict[str, float]:
    with fresh_database(url) as database_url:
        database = Database(database_url)
        try:
            migrate(database)
            # A tenth of them backs off and stands before all others; as many have ended before.
            fill(database, queued=queued, backing_off=queued // 10, ended=queued)
            return measure(PostgresLedger(database), JobId(last_job(database)))
        finally:
            database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--name", default="reconciler", help="of the file under build/bench")
    asked = parser.parse_args()
    with started() as servers:
        found = {size: with_rows(servers.postgres.url, size) for size in asked.sizes}
    ticks = {size: sum(times[name] for name in TICK) for size, times in found.items()}
    rows = [[name, *(times[name] for times in found.values())] for name in found[asked.sizes[0]]]
    columns = ["ms, median", *(f"{size:,} queued" for size in asked.sizes)]
    show("The ledger's statements", columns, [*rows, ["one tick", *ticks.values()]])
    write(
        asked.name,
        {
            "unit": "ms",
            "statements": {str(size): times for size, times in found.items()},
            "tick": {str(size): span for size, span in ticks.items()},
        },
    )


if __name__ == "__main__":
    main()
