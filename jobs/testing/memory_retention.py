"""``jobs.retention.Retention`` in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from jobs.model import ArtifactKey, Job, JobId
from jobs.retention import StoredInput
from jobs.testing.memory_inputs import DOOMED, Place
from jobs.testing.memory_rows import Row
from jobs.testing.memory_workers import MemoryWorkers


class MemoryRetention:
    """What ``MemoryLedger`` is too: its rows are those of the ledger."""

    _now: Callable[[], datetime]
    _lock: threading.RLock
    _rows: dict[JobId, Row]
    _keys: dict[tuple[str, str], Row]
    _inputs: dict[Place, datetime]  # when each was used last
    _sizes: dict[Place, int]
    _workers: MemoryWorkers

    def due_results(self, keep: timedelta, *, limit: int) -> Sequence[Job]:
        with self._lock:
            now = self._now()
            due = [row.job for row in self._ended() if _is_withdrawable(row.job, now, keep)]
            return due[:limit]

    def withdraw_results(self, keep: timedelta, *, limit: int) -> Sequence[Job]:
        with self._lock:
            found = self.due_results(keep, limit=limit)
            for job in found:
                self._rows[job.id].store(replace(job, result_deleted_at=self._now()))
            return [self._rows[job.id].job for job in found]

    def due_jobs(self, keep: timedelta, *, limit: int) -> Sequence[JobId]:
        with self._lock:
            before = self._now() - keep
            return [row.job.id for row in self._ended() if _ended_before(row.job, before)][:limit]

    def remove_jobs(self, keep: timedelta, *, limit: int) -> int:
        with self._lock:
            due = [self._rows[one] for one in self.due_jobs(keep, limit=len(self._rows))]
            old = [row for row in due if row.job.result is None or row.job.result_deleted_at]
            for row in old[:limit]:
                del self._rows[row.job.id]
                if self._keys.get(row.place) is row:
                    del self._keys[row.place]
            return len(old[:limit])

    def due_inputs(self, keep: timedelta, *, limit: int) -> Sequence[StoredInput]:
        with self._lock:
            before, needed = self._now() - keep, self._needed()
            old = sorted((used, place) for place, used in self._inputs.items() if used < before)
            places = [place for _, place in old if place not in needed]
            return [self._stored(place) for place in places[:limit]]

    def remove_inputs(
        self,
        keep: timedelta,
        *,
        limit: int,
        delete: Callable[[Sequence[ArtifactKey]], None],
    ) -> Sequence[StoredInput]:
        with self._lock:
            doomed = self.due_inputs(keep, limit=limit)
            for one in doomed:
                self._inputs[one.tenant, one.sha256] = DOOMED
            if doomed:
                delete([one.key for one in doomed])
            for one in doomed:
                del self._inputs[one.tenant, one.sha256]
            return doomed

    def unrecorded(self, inputs: Sequence[StoredInput]) -> Sequence[StoredInput]:
        with self._lock:
            return [one for one in inputs if (one.tenant, one.sha256) not in self._inputs]

    def adopt(self, inputs: Sequence[StoredInput]) -> int:
        with self._lock:
            fresh = self.unrecorded(inputs)
            for one in fresh:
                self._inputs[one.tenant, one.sha256] = self._now()
                self._sizes[one.tenant, one.sha256] = one.bytes
            return len(fresh)

    def due_workers(self, keep: timedelta, *, limit: int) -> Sequence[UUID]:
        with self._lock:
            return self._workers.silent(before=self._now() - keep)[:limit]

    def remove_workers(self, keep: timedelta, *, limit: int) -> int:
        with self._lock:
            old = self.due_workers(keep, limit=limit)
            self._workers.forget(old)
            return len(old)

    def _ended(self) -> Iterator[Row]:
        """Oldest end first."""
        ended = [(row.job.finished_at, row.job.id) for row in self._rows.values()]
        order = sorted((at, one) for at, one in ended if at is not None)
        return (self._rows[one] for _, one in order)

    def _needed(self) -> set[Place]:
        live = [row.job for row in self._rows.values() if not row.job.state.is_final]
        return {(job.tenant, digest) for job in live for digest in job.request.pictures}

    def _stored(self, place: Place) -> StoredInput:
        return StoredInput(tenant=place[0], sha256=place[1], bytes=self._sizes[place])


def _is_withdrawable(job: Job, now: datetime, keep: timedelta) -> bool:
    if job.result is None or job.result_deleted_at is not None:
        return False
    if job.expires_at is not None:
        return job.expires_at <= now
    return _ended_before(job, now - keep)


def _ended_before(job: Job, moment: datetime) -> bool:
    return job.finished_at is not None and job.finished_at < moment
