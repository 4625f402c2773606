"""Where jobs stand in their line, as the ledger in memory knows it."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import takewhile
from statistics import fmean

from jobs.errors import JobNotFound
from jobs.estimates import RECENT, SAMPLE, Pace, place_of
from jobs.ledger import Place
from jobs.model import JobId
from jobs.states import JobState
from jobs.testing.memory_rows import QUEUED, RUNNING, Row, in_turn
from jobs.testing.memory_workers import MemoryWorkers


class MemoryPlaces:
    """What ``MemoryLedger`` answers about its lines."""

    _now: Callable[[], datetime]
    _lock: threading.RLock
    _rows: dict[JobId, Row]
    _workers: MemoryWorkers

    def place(self, job_id: JobId) -> Place | None:
        with self._lock:
            if job_id not in self._rows:
                raise JobNotFound(f"no job {job_id}")
            mine = self._rows[job_id].job
            if mine.state is not QUEUED:
                return None
            line = in_turn(
                self._in_queue(mine.queue),
                lambda row: (
                    row.job.state is QUEUED and (row.job.not_before is None or row.job.id == job_id)
                ),
            )
            first = takewhile(lambda row: row.job.id != job_id, line)
            before = Counter(row.job.request.profile for row in first)
            return place_of(mine, before, self._pace(mine.queue))

    def _pace(self, queue: str) -> Pace:
        left: defaultdict[str, float] = defaultdict(float)
        running = [row.job for row in self._in_queue(queue) if row.job.state is RUNNING]
        for job in running:
            left[job.request.profile] += 1 - job.progress
        alive = self._workers.alive(now=self._now())
        return Pace(
            workers=sum(one.model.queue == queue for one in alive),
            running=len(running),
            left=left,
            seconds=_seconds([*self._in_queue(queue)], self._now() - RECENT),
        )

    def _in_queue(self, queue: str) -> Iterator[Row]:
        return (row for row in self._rows.values() if row.job.queue == queue)


def _seconds(rows: Sequence[Row], since: datetime) -> dict[str, float]:
    """On the card, by profile; of the newest that succeeded."""
    ended = [
        (row.job.finished_at, row)
        for row in rows
        if row.job.state is JobState.SUCCEEDED
        and row.job.finished_at is not None
        and row.job.finished_at > since
    ]
    ended.sort(key=lambda pair: pair[0], reverse=True)
    found: defaultdict[str, list[float]] = defaultdict(list)
    for _, row in ended[:SAMPLE]:
        card = (row.attempts[-1].timings or {}).get("card")
        if card is not None:
            found[row.job.request.profile].append(card)
    return {profile: fmean(seconds) for profile, seconds in found.items()}
