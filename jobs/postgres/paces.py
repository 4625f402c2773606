"""What the jobs of a queue take at present: read from the newest of them, and remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

from sqlalchemy import Connection, Float, Select, case, cast, func, literal, select

from jobs.estimates import RECENT, SAMPLE, Pace
from jobs.postgres.tables import is_alive, job, state_is, worker
from jobs.states import JobState

REMEMBERED: Final = 1.0  # seconds
MOST: Final = 1_000  # queues remembered


class Paces:
    """The present pace of each queue.

    What recent jobs took is remembered for a moment, since every caller polls.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, Mapping[str, float]]] = {}

    def of(self, connection: Connection, queue: str) -> Pace:
        """Reads the jobs that run, and ``SAMPLE`` others at most."""
        alive = select(func.count(literal(1))).where(worker.c.queue == queue, is_alive())
        running = connection.execute(_running(queue)).all()
        return Pace(
            workers=connection.execute(alive).scalar_one(),
            running=sum(row.jobs for row in running),
            left={row.profile: row.left for row in running},
            seconds=self._seconds(connection, queue),
        )

    def _seconds(self, connection: Connection, queue: str) -> Mapping[str, float]:
        until, found = self._known.get(queue, (-inf, {}))
        if self._clock() < until:
            return found
        if len(self._known) >= MOST:
            self._known.clear()
        found = {row.profile: row.seconds for row in connection.execute(_recent(queue))}
        self._known[queue] = self._clock() + REMEMBERED, found
        return found


def _running(queue: str) -> Select[str, int, Any]:
    done = case(
        (job.c.steps_total > 0, cast(job.c.steps_done, Float) / job.c.steps_total), else_=0.0
    )
    return (
        select(
            job.c.profile,
            func.count(literal(1)).label("jobs"),
            func.sum(1.0 - done, type_=Float).label("left"),
        )
        .where(job.c.queue == queue, state_is(JobState.RUNNING))
        .group_by(job.c.profile)
    )


def _recent(queue: str) -> Select[str, Any]:
    newest = (
        select(job.c.profile, cast(job.c.timings["card"].astext, Float).label("seconds"))
        .where(
            job.c.queue == queue,
            state_is(JobState.SUCCEEDED),
            job.c.finished_at > func.now() - RECENT,
        )
        .order_by(job.c.finished_at.desc())
        .limit(SAMPLE)
        .subquery("newest")
    )
    return (
        select(newest.c.profile, func.avg(newest.c.seconds, type_=Float).label("seconds"))
        .where(newest.c.seconds.is_not(None))
        .group_by(newest.c.profile)
    )
