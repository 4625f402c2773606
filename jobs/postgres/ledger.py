"""``jobs.ledger.Ledger`` in PostgreSQL."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Uuid,
    any_,
    case,
    delete,
    func,
    literal,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from jobs.errors import JobNotFound, JobsError
from jobs.estimates import place_of
from jobs.ledger import LEASE, Ended, JobFilter, Move, Place, Submitted
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
from jobs.postgres import attempts, completions, window
from jobs.postgres.completions import Completion
from jobs.postgres.connection import Database
from jobs.postgres.ended import ended
from jobs.postgres.inputs import touch
from jobs.postgres.losses import lose_worker
from jobs.postgres.offers import Models, live_workers
from jobs.postgres.paces import Paces
from jobs.postgres.places import standing_before
from jobs.postgres.replay import replay
from jobs.postgres.rows import job_of
from jobs.postgres.submit import submit, submit_fresh
from jobs.postgres.tables import input_, job, model, move, state_is, worker
from jobs.postgres.together import Together
from jobs.states import JobState
from jobs.turns import Served

#: As text: a JSON null is no NULL of SQL.  In the words of the index job_suspect.
IS_SUSPECT: Final = literal_column("(result ->> 'suspect')").is_not(None)


class PostgresLedger:
    """Thread-safe; one pool of connections."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._models = Models()
        self._served = Served()
        self._paces = Paces()
        self.completions = Together(self._complete_all, self._complete)

    # ---- what a producer asks

    def submit(self, new: Sequence[NewJob]) -> list[Submitted | JobsError]:
        if not new:
            return []
        if len(new) == 1:
            with self.database.connect() as connection:
                fresh = submit_fresh(connection, new[0], self._models)
            if fresh is not None:
                return [fresh]
        with self.database.begin() as connection:
            return submit(connection, new, self._models)

    def get(self, job_id: JobId) -> Job:
        found = self.get_many([job_id])
        if not found:
            raise JobNotFound(f"no job {job_id}")
        return found[0]

    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        statement = select(job).where(job.c.id == any_(literal(list(job_ids), ARRAY(Uuid()))))
        with self.database.connect() as connection:
            found = {row["id"]: job_of(row) for row in connection.execute(statement).mappings()}
        return [found[one] for one in job_ids if one in found]

    def list(self, where: JobFilter, *, limit: int = 100) -> list[Job]:
        statement = select(job).where(*_filter(where)).order_by(job.c.id.desc()).limit(limit)
        with self.database.connect() as connection:
            return [job_of(row) for row in connection.execute(statement).mappings()]

    def counts(self, where: JobFilter) -> dict[JobState, int]:
        statement = select(job.c.state, func.count(literal(1))).where(*_filter(where))
        with self.database.connect() as connection:
            rows = connection.execute(statement.group_by(job.c.state))
            return {JobState(state): count for state, count in rows}

    def cancel(self, job_id: JobId, *, who: str, why: str = "cancelled by the caller") -> Job:
        queued = state_is(JobState.QUEUED)
        unasked = job.c.cancel_requested_at.is_(None)  # who asks again changes nothing
        statement = (
            update(job)
            .where(job.c.id == job_id, state_is(JobState.QUEUED, JobState.RUNNING), unasked)
            .values(
                state=case((queued, JobState.CANCELLED.value), else_=job.c.state),
                finished_at=case((queued, func.now()), else_=null()),
                cancel_requested_at=func.now(),
                moved_by=who,
                moved_why=why,
            )
        )
        with self.database.connect() as connection:
            connection.execute(statement)
        return self.get(job_id)

    def replay(self, job_ids: Sequence[JobId], *, who: str) -> builtins.list[Submitted | JobsError]:
        with self.database.begin() as connection:
            return replay(connection, job_ids, who, self._models)

    def history(self, job_id: JobId) -> Sequence[Move]:
        statement = select(move).where(move.c.job_id == job_id).order_by(move.c.id)
        with self.database.connect() as connection:
            rows = connection.execute(statement).mappings().all()
        return [
            Move(
                job_id=JobId(row["job_id"]),
                at=row["at"],
                who=row["who"],
                from_state=JobState(row["from_state"]) if row["from_state"] else None,
                to_state=JobState(row["to_state"]),
                attempt=row["attempt"],
                why=row["why"],
            )
            for row in rows
        ]

    def ended(self, *, within: timedelta, limit: int = 200_000) -> Sequence[Ended]:
        with self.database.connect() as connection:
            return ended(connection, within, limit)

    def place(self, job_id: JobId) -> Place | None:
        mine = self.get(job_id)
        if mine.state is not JobState.QUEUED:
            return None
        with self.database.connect() as connection:
            ahead = standing_before(connection, mine)
            pace = self._paces.of(connection, mine.queue)
        return place_of(mine, ahead, pace)

    def touch_inputs(self, tenant: str, digests: Sequence[str]) -> set[str]:
        with self.database.connect() as connection:
            return touch(connection, tenant, sorted(set(digests)))

    def record_input(self, tenant: str, digest: str, *, size: int, media_type: str) -> None:
        statement = insert(input_).values(
            tenant=tenant,
            sha256=digest,
            bytes=size,
            media_type=media_type,
            created_at=func.now(),
            used_at=func.now(),
        )
        upsert = statement.on_conflict_do_update(
            index_elements=["tenant", "sha256"], set_={"used_at": func.now()}
        )
        with self.database.connect() as connection:
            connection.execute(upsert)

    def forget_input(self, tenant: str, digest: str) -> None:
        statement = delete(input_).where(input_.c.tenant == tenant, input_.c.sha256 == digest)
        with self.database.connect() as connection:
            connection.execute(statement)

    def models(self) -> Sequence[ServedModel]:
        with self.database.connect() as connection:
            return self._models.asked(connection)

    def live_workers(self) -> Sequence[WorkerInfo]:
        with self.database.connect() as connection:
            return live_workers(connection)

    # ---- what a worker does

    def register(self, info: WorkerInfo) -> None:
        self._models.forget()
        offered = info.model
        offer = insert(model).values(
            name=offered.name,
            profile_group=offered.profile_group,
            revision=offered.revision,
            profiles=list(offered.profiles),
            registered_at=func.now(),
        )
        offer = offer.on_conflict_do_update(
            index_elements=["name", "profile_group", "revision"],
            set_={"profiles": offer.excluded.profiles, "registered_at": func.now()},
        )
        row = {
            "holder": info.holder,
            "card": info.card,
            "queue": offered.queue,
            "model": offered.name,
            "profile_group": offered.profile_group,
            "revision": offered.revision,
            "release": info.release,
            "seen_at": func.now(),
            "left_at": null(),
        }
        join = insert(worker).values(id=info.id, started_at=func.now(), **row)
        join = join.on_conflict_do_update(index_elements=["id"], set_=row)
        with self.database.begin() as connection:
            connection.execute(offer)
            connection.execute(join)

    def retire(self, worker_id: UUID) -> None:
        self._models.forget()
        statement = update(worker).where(worker.c.id == worker_id).values(left_at=func.now())
        with self.database.connect() as connection:
            connection.execute(statement)

    def claim(self, job_id: JobId, info: WorkerInfo, *, lease: timedelta = LEASE) -> Lease | None:
        with self.database.connect() as connection:
            return self._noted(attempts.claim(connection, job_id, info, lease))

    def claim_next(
        self, info: WorkerInfo, *, named: JobId | None = None, lease: timedelta = LEASE
    ) -> Lease | None:
        served = self._served.of(info.model.queue)
        with self.database.connect() as connection:
            return self._noted(
                attempts.claim_next(connection, info, lease, named=named, served=served)
            )

    def claim_some(
        self, info: WorkerInfo, *, most: int, lease: timedelta = LEASE
    ) -> Sequence[Lease]:
        served = self._served.of(info.model.queue)
        with self.database.connect() as connection:
            found = attempts.claim_some(connection, info, lease, most=most, served=served)
        for one in found:
            self._noted(one)
        return found

    def _noted(self, lease: Lease | None) -> Lease | None:
        if lease is not None:
            self._served.note(lease.job.queue, lease.job.tenant)
        return lease

    def renew(
        self, worker_id: UUID, holdings: Sequence[Holding], *, lease: timedelta = LEASE
    ) -> Mapping[JobId, Order]:
        with self.database.connect() as connection:
            return attempts.renew(connection, worker_id, holdings, lease)

    def complete(self, lease: Lease, result: Result, *, timings: Mapping[str, float]) -> Job:
        return self.completions.call(lease.job.id, Completion(lease, result, timings))

    def _complete_all(self, told: Sequence[Completion]) -> Mapping[JobId, Job]:
        with self.database.connect() as connection:
            return completions.complete_all(connection, told)

    def _complete(self, told: Completion) -> Job:
        with self.database.connect() as connection:
            return completions.complete(connection, told)

    def fail(self, lease: Lease, failure: Failure, *, retry_in: timedelta = timedelta(0)) -> Job:
        with self.database.connect() as connection:
            return job_of(attempts.fail(connection, lease, failure, retry_in))

    def hand_back(self, lease: Lease, *, why: str) -> Job:
        with self.database.connect() as connection:
            return job_of(attempts.hand_back(connection, lease, why))

    def confirm_cancel(self, lease: Lease) -> Job:
        with self.database.connect() as connection:
            return job_of(attempts.confirm_cancel(connection, lease))

    # ---- what a supervisor does

    def lose_worker(self, worker_id: UUID, *, why: str) -> Sequence[Job]:
        with self.database.begin() as connection:
            return [job_of(row) for row in lose_worker(connection, worker_id, why)]

    # ---- what the reconciler does

    def expire(self, *, limit: int = 100) -> Sequence[Job]:
        with self.database.begin() as connection:
            rows = [
                *window.expire_leases(connection, limit),
                # Until they are ended, each claim looks at those that stand before its job.
                *window.expire_deadlines(connection, 10 * limit),
            ]
        return [job_of(row) for row in rows]

    def wake(self, queue: str, *, limit: int = 1_000) -> int:
        with self.database.connect() as connection:
            return window.wake(connection, queue, limit)

    def queues(self) -> Mapping[str, int]:
        with self.database.connect() as connection:
            return window.queues(connection)

    def reroute(self, queue: str, *, limit: int = 1_000) -> int:
        with self.database.begin() as connection:
            return window.reroute(connection, queue, limit)

    def take_window(self, queue: str, *, size: int, most: int | None = None) -> Sequence[JobId]:
        with self.database.begin() as connection:
            return window.take_window(connection, queue, size, size if most is None else most)

    def standing(self, queue: str, *, older_than: timedelta) -> Sequence[JobId]:
        with self.database.connect() as connection:
            return window.standing(connection, queue, older_than)

    def undispatch(self, job_ids: Sequence[JobId]) -> None:
        with self.database.connect() as connection:
            window.undispatch(connection, job_ids)


def _filter(where: JobFilter) -> builtins.list[ColumnElement[bool]]:
    conditions: builtins.list[ColumnElement[bool]] = []
    if where.tenant is not None:
        conditions.append(job.c.tenant == where.tenant)
    if where.state is not None:
        conditions.append(job.c.state == where.state)
    if where.failure_class is not None:
        conditions.append(job.c.failure_class == where.failure_class.value)
    if where.code is not None:
        conditions.append(job.c.error_code == where.code)
    if where.holds_key:
        conditions.append(~job.c.superseded)
    if where.batch is not None:
        conditions.append(job.c.batch == where.batch)
    if where.suspect:
        conditions += [state_is(JobState.SUCCEEDED), IS_SUSPECT]
    if where.before is not None:
        conditions.append(job.c.id < where.before)
    return conditions
