"""From the ledger's attempts: did a ready job wait in one worker while another card was free?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy import RowMapping, select

from jobs.postgres.connection import Database
from jobs.postgres.tables import attempt


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """In seconds since the epoch, by the ledger's clock."""

    worker: object
    claimed: float
    ready: float  #: fetched and decoded
    on_card: float
    ended: float

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        claimed, timings = row["started_at"].timestamp(), row["timings"]
        ready = claimed + timings["fetch"] + timings["decode"]
        return cls(
            worker=row["worker_id"],
            claimed=claimed,
            ready=ready,
            on_card=ready + timings["wait"],
            ended=row["ended_at"].timestamp(),
        )


def attempts(database: Database, workers: Iterable[object]) -> list[Attempt]:
    statement = select(attempt).where(
        attempt.c.ended_at.is_not(None), attempt.c.worker_id.in_(list(workers))
    )
    with database.connect() as connection:
        rows = connection.execute(statement).mappings().all()
    return [Attempt.of(row) for row in rows if row["timings"]]


def longest_wait_beside_free_card(done: Sequence[Attempt]) -> float:
    """Seconds, at most, that a ready job stood before its worker's card while another worker
    held nothing at all."""
    longest = 0.0
    for one in done:
        for worker in {other.worker for other in done} - {one.worker}:
            held = [(other.claimed, other.ended) for other in done if other.worker == worker]
            longest = max(longest, *_gaps(held, one.ready, one.on_card), 0.0)
    return longest


def _gaps(held: Sequence[tuple[float, float]], start: float, end: float) -> list[float]:
    """The parts of ``start`` to ``end`` that lie in none of the spans, in seconds."""
    gaps, position = [], start
    for began, ended in sorted(held):
        if began > position:
            gaps.append(min(began, end) - position)
        position = max(position, ended)
        if position >= end:
            return gaps
    return [*gaps, end - position]
