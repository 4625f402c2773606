"""``jobs.ledger.Ledger`` in memory."""

from __future__ import annotations

import builtins
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from jobs.errors import (
    IdempotencyConflict,
    JobNotFound,
    JobsError,
    LeaseLost,
)
from jobs.keys import Keyed, check_replayable, keyed, queue_again
from jobs.ledger import LEASE, Ended, JobFilter, Move, Submitted
from jobs.model import (
    Failure,
    Holding,
    Job,
    JobId,
    Lease,
    NewJob,
    Order,
    Result,
    ServedModel,
    WorkerInfo,
)
from jobs.states import JobState
from jobs.testing.memory_endings import give_up, lose, lose_beside, ran_out
from jobs.testing.memory_inputs import MemoryInputs
from jobs.testing.memory_places import MemoryPlaces
from jobs.testing.memory_retention import MemoryRetention
from jobs.testing.memory_rows import QUEUED, REQUEUED, RUNNING, AttemptRecord, Row, in_turn, utc_now
from jobs.testing.memory_workers import MemoryWorkers
from jobs.turns import Served

SUBMITTER: Final = "producer"


class MemoryLedger(MemoryPlaces, MemoryInputs, MemoryRetention):
    """Thread-safe by one lock; also a ``Retention``.  ``now`` decides ownership."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._rows: dict[JobId, Row] = {}
        self._keys: dict[tuple[str, str], Row] = {}  # of rows that are not superseded
        self._inputs: dict[tuple[str, str], datetime] = {}
        self._sizes: dict[tuple[str, str], int] = {}
        self._workers = MemoryWorkers()
        self._served = Served()

    # ---- what a producer asks

    def submit(self, new: Sequence[NewJob]) -> builtins.list[Submitted | JobsError]:
        with self._lock:
            models = self.models()
            items = [keyed(one, models) for one in new]
            for item in items:
                if isinstance(item, Keyed):
                    self._supersede(item)
            return [item if isinstance(item, JobsError) else self._submit(item) for item in items]

    def _supersede(self, item: Keyed) -> None:
        row = self._keys.get((item.new.tenant, item.key))
        if item.derived and row and row.derived and row.is_useless(self._now()):
            row.superseded = True
            del self._keys[item.new.tenant, item.key]

    def _submit(self, item: Keyed) -> Submitted | JobsError:
        key = (item.new.tenant, item.key)
        row = self._keys.get(key)
        if row is None:
            row = self._keys[key] = Row.of(item, now=self._now(), who=SUBMITTER)
            self._rows[row.job.id] = row
            return Submitted(job=row.job, created=True)
        if row.fingerprint != item.fingerprint:
            return IdempotencyConflict(
                f"idempotency key {item.key!r} belongs to job {row.job.id}, which asks for"
                " something else: use another key, or send the same request"
            )
        return Submitted(job=row.job, created=False)

    def get(self, job_id: JobId) -> Job:
        return self._row(job_id).job

    def get_many(self, job_ids: Sequence[JobId]) -> builtins.list[Job]:
        with self._lock:
            return [self._rows[one].job for one in job_ids if one in self._rows]

    def list(self, where: JobFilter, *, limit: int = 100) -> builtins.list[Job]:
        with self._lock:
            found = [row.job for row in self._rows.values() if _matches(row, where)]
        return sorted(found, key=lambda job: job.id, reverse=True)[:limit]

    def counts(self, where: JobFilter) -> dict[JobState, int]:
        with self._lock:
            return dict(
                Counter(row.job.state for row in self._rows.values() if _matches(row, where))
            )

    def cancel(self, job_id: JobId, *, who: str, why: str = "cancelled by the caller") -> Job:
        with self._lock:
            row, now = self._row(job_id), self._now()
            if row.job.state is QUEUED:
                ended = {"finished_at": now, "cancel_requested_at": now}
                row.move(JobState.CANCELLED, at=now, who=who, why=why, **ended)
            elif row.job.state is RUNNING and row.job.cancel_requested_at is None:
                row.asked_by, row.asked_why = who, why
                row.store(replace(row.job, cancel_requested_at=now))
            return row.job

    def replay(self, job_ids: Sequence[JobId], *, who: str) -> builtins.list[Submitted | JobsError]:
        with self._lock:
            order = sorted(set(job_ids), key=lambda one: (self._has_followed(one), one))
            found = {one: self._replay(one, who) for one in order}
            return [found[one] for one in job_ids]

    def _has_followed(self, job_id: JobId) -> bool:
        return job_id in self._rows and self._rows[job_id].superseded

    def _replay(self, job_id: JobId, who: str) -> Submitted | JobsError:
        row = self._rows.get(job_id)
        if row is None:
            return JobNotFound(f"no job {job_id}")
        tenant, pictures = row.job.tenant, row.job.request.pictures
        error = check_replayable(row.job, stored=self.touch_inputs(tenant, pictures))
        if error is not None:
            return error
        holder = self._keys.get(row.place)
        if holder is None or holder is row:
            queue = queue_again(row.job.request, self.models())
            holder = self._keys[row.place] = row.replayed(queue, now=self._now(), who=who)
            self._rows[holder.job.id] = holder
            return Submitted(job=holder.job, created=True)
        return Submitted(job=holder.job, created=False)

    def history(self, job_id: JobId) -> Sequence[Move]:
        with self._lock:
            row = self._rows.get(job_id)
            return [] if row is None else [*row.moves]

    def attempts(self, job_id: JobId) -> Sequence[AttemptRecord]:
        """Not of the port: what Postgres keeps in its table of attempts."""
        with self._lock:
            return [*self._row(job_id).attempts]

    def ended(self, *, within: timedelta, limit: int = 200_000) -> Sequence[Ended]:
        with self._lock:
            since = self._now() - within
            found = [pair for row in self._rows.values() for pair in row.ended(since)]
        found.sort(key=lambda pair: pair[0], reverse=True)
        return [one for _, one in found[:limit]]

    def models(self) -> Sequence[ServedModel]:
        with self._lock:
            return self._workers.models(now=self._now())

    def live_workers(self) -> Sequence[WorkerInfo]:
        with self._lock:
            return self._workers.alive(now=self._now())

    # ---- what a worker does

    def register(self, worker: WorkerInfo) -> None:
        with self._lock:
            self._workers.register(worker, now=self._now())

    def retire(self, worker_id: UUID) -> None:
        with self._lock:
            self._workers.retire(worker_id, now=self._now())

    def claim(self, job_id: JobId, worker: WorkerInfo, *, lease: timedelta = LEASE) -> Lease | None:
        with self._lock:
            row, now = self._rows.get(job_id), self._now()
            if row is None or row.job.queue != worker.model.queue or not _may(worker, row, now):
                return None
            return self._start(row, worker, now, lease)

    def claim_next(
        self, worker: WorkerInfo, *, named: JobId | None = None, lease: timedelta = LEASE
    ) -> Lease | None:
        with self._lock:
            now = self._now()
            rows = self._in_queue(worker.model.queue)
            served = self._served.of(worker.model.queue)
            line = in_turn(rows, lambda row: _may(worker, row, now), served=served, named=named)
            return self._start(line[0], worker, now, lease) if line else None

    def claim_some(
        self, worker: WorkerInfo, *, most: int, lease: timedelta = LEASE
    ) -> Sequence[Lease]:
        with self._lock:
            now = self._now()
            rows, served = self._in_queue(worker.model.queue), self._served.of(worker.model.queue)
            line = in_turn(rows, lambda row: _may(worker, row, now), served=served)
            return [self._start(row, worker, now, lease) for row in line[:most]]

    def _start(self, row: Row, worker: WorkerInfo, now: datetime, lease: timedelta) -> Lease:
        self._served.note(row.job.queue, row.job.tenant)
        return row.start(worker, self._workers.known(worker.id), now=now, lease=lease)

    def renew(
        self, worker_id: UUID, holdings: Sequence[Holding], *, lease: timedelta = LEASE
    ) -> Mapping[JobId, Order]:
        with self._lock:
            now = self._now()
            self._workers.saw(worker_id, now=now)
            return {one.job_id: self._renew(worker_id, one, now, lease) for one in holdings}

    def _renew(self, worker_id: UUID, one: Holding, now: datetime, lease: timedelta) -> Order:
        row = self._rows.get(one.job_id)
        if row is None or row.job.state is not RUNNING:
            return Order.LOST
        if row.job.attempt != one.attempt or row.worker_id != worker_id:
            return Order.LOST
        held = replace(row.job, lease_expires_at=now + lease)
        row.store(replace(held, steps_done=one.steps_done, steps_total=one.steps_total))
        return row.order(now)

    def complete(self, lease: Lease, result: Result, *, timings: Mapping[str, float]) -> Job:
        with self._lock:
            job = self._row(lease.job.id).job
            said = job.state is JobState.SUCCEEDED and job.attempt == lease.attempt
            if said and job.result and job.result.key == result.key:
                return job
            row, now = self._held(lease), self._now()
            keep = row.new.keep_for
            return row.end(
                JobState.SUCCEEDED,
                at=now,
                who=lease.holder,
                why="completed",
                timings=dict(timings),
                result=result,
                expires_at=None if keep is None else now + keep,
                steps_done=row.job.steps_total,
                failure=None,
            )

    def fail(self, lease: Lease, failure: Failure, *, retry_in: timedelta = timedelta(0)) -> Job:
        with self._lock:
            row, now = self._held(lease), self._now()
            why = f"{failure.failure_class}: {failure.code}"
            return row.end_badly(
                failure,
                at=now,
                who=lease.holder,
                why=why,
                not_before=now + retry_in if retry_in else None,
            )

    def hand_back(self, lease: Lease, *, why: str) -> Job:
        with self._lock:
            row = self._held(lease)
            return row.end(QUEUED, at=self._now(), who=lease.holder, why=why, **REQUEUED)

    def confirm_cancel(self, lease: Lease) -> Job:
        with self._lock:
            row, now = self._held(lease), self._now()
            asked = row.job.cancel_requested_at
            return row.end(
                JobState.CANCELLED,
                at=now,
                who=row.asked_by if asked else lease.holder,
                why=row.asked_why if asked else "cancelled by its worker",
                cancel_requested_at=asked or now,
            )

    # ---- what a supervisor does

    def lose_worker(self, worker_id: UUID, *, why: str) -> Sequence[Job]:
        with self._lock:
            now = self._now()
            self._workers.retire(worker_id, now=now)
            held = [row for row in self._rows.values() if row.worker_id == worker_id]
            return [lose_beside(row, now, why) for row in held]

    # ---- what the reconciler does

    def expire(self, *, limit: int = 100) -> Sequence[Job]:
        with self._lock:
            now = self._now()
            lost = [row for row in self._rows.values() if ran_out(row.job, now)]
            late = [
                row for row in self._rows.values() if row.job.state is QUEUED and row.is_late(now)
            ]
            return [
                *(lose(row, now) for row in lost[:limit]),
                *(give_up(row, now) for row in late[:limit]),
            ]

    def wake(self, queue: str, *, limit: int = 1_000) -> int:
        with self._lock:
            now = self._now()
            awake = [row for row in self._in_queue(queue) if row.job.state is QUEUED]
            awake = [row for row in awake if row.job.not_before and row.job.not_before <= now]
            for row in awake[:limit]:
                row.store(replace(row.job, not_before=None))
            return len(awake[:limit])

    def queues(self) -> Mapping[str, int]:
        with self._lock:
            now = self._now()
            waiting = {row.job.queue: 0 for row in self._rows.values() if row.job.state is QUEUED}
            alive = Counter(one.model.queue for one in self._workers.alive(now=now))
            return {**waiting, **alive}

    def reroute(self, queue: str, *, limit: int = 1_000) -> int:
        with self._lock:
            alive = [one.model for one in self._workers.alive(now=self._now())]
            if queue in {one.queue for one in alive}:
                return 0
            return sum(self._move(queue, to, limit) for to in dict.fromkeys(alive))

    def _move(self, queue: str, to: ServedModel, limit: int) -> int:
        stranded = [
            row
            for row in self._in_queue(queue)
            if row.job.state is QUEUED
            and row.job.request.model == to.name
            and row.job.request.profile in to.profiles
        ]
        stranded.sort(key=lambda row: (-row.job.priority, row.job.id))
        for row in stranded[:limit]:
            row.store(replace(row.job, queue=to.queue, dispatched_at=None))
        return len(stranded[:limit])

    def take_window(self, queue: str, *, size: int, most: int | None = None) -> Sequence[JobId]:
        with self._lock:
            now = self._now()
            room = size - sum(row.is_standing for row in self._in_queue(queue))
            fresh = in_turn(
                self._in_queue(queue),
                lambda row: row.job.dispatched_at is None and row.is_due(now),
                busy=lambda row: row.job.state is RUNNING or row.is_standing,
            )[: max(min(room, size if most is None else most), 0)]
            for row in fresh:
                row.store(replace(row.job, dispatched_at=now))
            return [row.job.id for row in fresh]

    def standing(self, queue: str, *, older_than: timedelta) -> Sequence[JobId]:
        with self._lock:
            before = self._now() - older_than
            return [
                row.job.id
                for row in self._in_queue(queue)
                if row.is_standing and row.job.dispatched_at and row.job.dispatched_at < before
            ]

    def undispatch(self, job_ids: Sequence[JobId]) -> None:
        with self._lock:
            for row in (self._rows[one] for one in job_ids if one in self._rows):
                if row.job.state is QUEUED:
                    row.store(replace(row.job, dispatched_at=None))

    def _row(self, job_id: JobId) -> Row:
        with self._lock:
            if job_id not in self._rows:
                raise JobNotFound(f"no job {job_id}")
            return self._rows[job_id]

    def _held(self, lease: Lease) -> Row:
        """The fence: every write of an attempt goes through here."""
        row = self._rows.get(lease.job.id)
        if row is None or row.job.state is not RUNNING or row.job.attempt != lease.attempt:
            raise LeaseLost(f"job {lease.job.id}: attempt {lease.attempt} no longer holds it")
        return row


def _matches(row: Row, where: JobFilter) -> bool:
    job = row.job
    return (
        not (where.holds_key and row.superseded)
        and (where.tenant is None or job.tenant == where.tenant)
        and (where.state is None or job.state is where.state)
        and (where.batch is None or job.batch == where.batch)
        and where.failure_class in {None, job.failure and job.failure.failure_class}
        and where.code in {None, job.failure and job.failure.code}
        and (not where.suspect or bool(job.result and job.result.suspect))
        and (where.before is None or job.id < where.before)
    )


def _may(worker: WorkerInfo, row: Row, now: datetime) -> bool:
    return row.is_due(now) and row.job.request.profile in worker.model.profiles
