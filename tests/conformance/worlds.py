"""A ledger whose jobs and leases have numbers, so that two ledgers can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from jobs.errors import JobsError
from jobs.ledger import JobFilter, Ledger, Submitted
from jobs.model import Job, JobId, Lease, NewJob, Order, WorkerInfo
from tests.conformance.scenes import DIGEST, QUEUE, TIMINGS, LetPass, holding, result

#: Every span of a scene is whole grains, but for a second loss's pause.  Postgres's clock runs on
#: between the calls, so what lies between two grains counts as the first.
GRAIN: Final = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """A lease by its number, with the progress that its worker tells."""

    lease: int
    done: int


@dataclass(kw_only=True)
class World:
    """Every act answers in numbers and values that are the same for every honest ledger."""

    ledger: Ledger
    let_pass: LetPass
    ids: list[JobId] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)

    # ---- what a producer does

    def submit(self, new: Sequence[NewJob]) -> list[object]:
        return [self._outcome(one) for one in self.ledger.submit(new)]

    def _outcome(self, one: Submitted | JobsError) -> object:
        if isinstance(one, JobsError):
            return type(one).__name__
        if one.created:
            self.ids.append(one.job.id)
        return self.number(one.job.id), one.created

    def keep_inputs(self, *tenants: str) -> None:
        for tenant in tenants:
            self.ledger.record_input(tenant, DIGEST, size=1, media_type="image/png")

    def cancel(self, job: int, who: str) -> object:
        return self.facts(self.ledger.cancel(self.ids[job], who=who))

    def replay(self, job: int, who: str) -> object:
        (found,) = self.ledger.replay([self.ids[job]], who=who)
        return self._outcome(found)

    def place(self, job: int) -> object:
        return self.ledger.place(self.ids[job])

    def counts(self, where: JobFilter) -> object:
        return self.ledger.counts(where)

    # ---- what a worker does

    def register(self, worker: WorkerInfo) -> None:
        self.ledger.register(worker)

    def retire(self, worker: WorkerInfo) -> None:
        self.ledger.retire(worker.id)

    def claim(self, job: int, worker: WorkerInfo, lease: timedelta) -> object:
        return self._keep(self.ledger.claim(self.ids[job], worker, lease=lease))

    def claim_next(self, worker: WorkerInfo, lease: timedelta, named: int | None = None) -> object:
        job_id = None if named is None else self.ids[named]
        return self._keep(self.ledger.claim_next(worker, lease=lease, named=job_id))

    def _keep(self, lease: Lease | None) -> object:
        if lease is None:
            return None
        self.leases.append(lease)
        return self.number(lease.job.id), lease.attempt, lease.holder, self.facts(lease.job)

    def renew(
        self, worker: WorkerInfo, reported: Sequence[Reported], lease: timedelta
    ) -> list[Order]:
        holdings = [holding(self.leases[one.lease], one.done, 9) for one in reported]
        orders = self.ledger.renew(worker.id, holdings, lease=lease)
        return [orders[one.job_id] for one in holdings]

    def end(self, lease: int, how: tuple[Any, ...]) -> object:
        """``how``: ("complete", name), ("fail", failure, retry_in), ("hand_back",) …"""
        held = self.leases[lease]
        match how:
            case ("complete", name):
                job = self.ledger.complete(held, result(held, name), timings=TIMINGS)
            case ("fail", failure, retry_in):
                job = self.ledger.fail(held, failure, retry_in=retry_in)
            case ("hand_back",):
                job = self.ledger.hand_back(held, why="drain")
            case _:
                job = self.ledger.confirm_cancel(held)
        return self.facts(job)

    # ---- what a supervisor does

    def lose_worker(self, worker: WorkerInfo) -> object:
        lost = self.ledger.lose_worker(worker.id, why="killed")
        return sorted((self.number(job.id), job.failures) for job in lost)

    # ---- what the reconciler does

    def expire(self) -> object:
        return sorted(self.number(job.id) for job in self.ledger.expire())

    def wake(self) -> int:
        return self.ledger.wake(QUEUE)

    def reroute(self, queue: str) -> int:
        return self.ledger.reroute(queue, limit=3)

    def take_window(self, size: int) -> object:
        return [self.number(one) for one in self.ledger.take_window(QUEUE, size=size)]

    def standing(self, older_than: timedelta) -> object:
        return sorted(
            self.number(one) for one in self.ledger.standing(QUEUE, older_than=older_than)
        )

    def undispatch(self, jobs: Sequence[int]) -> None:
        self.ledger.undispatch([self.ids[job] for job in jobs])

    def queues(self) -> object:
        return dict(self.ledger.queues()), [one.holder for one in self.ledger.live_workers()]

    def models(self) -> object:
        return list(self.ledger.models())

    # ---- comparing

    def _named(self, why: str) -> str:
        """``replay of`` a number."""
        for number, job_id in enumerate(self.ids):
            why = why.replace(str(job_id), str(number))
        return why

    def number(self, job_id: JobId) -> int:
        return self.ids.index(job_id)

    def jobs(self) -> list[Job]:
        return self.ledger.get_many(self.ids)

    def facts(self, job: Job) -> dict[str, Any]:
        """All of a job that does not depend on its id or on the time of day."""
        same = {name: getattr(job, name) for name in _SAME}
        spans = {name: _span(job, getattr(job, name)) for name in _INSTANTS}
        key = job.result.key.partition("/")[2] if job.result else None
        origin = None if job.replay_of is None else self.number(job.replay_of)
        return {
            "number": self.number(job.id),
            "result": key,
            "replay_of": origin,
            **same,
            **spans,
        }

    def history(self, job: int) -> list[tuple[object, ...]]:
        return [
            (move.who, move.from_state, move.to_state, move.attempt, self._named(move.why))
            for move in self.ledger.history(self.ids[job])
        ]


_SAME = (
    *("tenant", "state", "queue", "priority", "request", "idempotency_key", "attempt"),
    *("failures", "max_failures", "holder", "steps_done", "steps_total", "failure", "release"),
)
_INSTANTS = (
    *("started_at", "finished_at", "not_before", "start_by", "expires_at", "dispatched_at"),
    *("cancel_requested_at", "lease_expires_at", "result_deleted_at"),
)


def _span(job: Job, at: datetime | None) -> int | None:
    """Since the job was made, in grains."""
    return None if at is None else (at - job.created_at) // GRAIN


def answer(act: Callable[[World], object], world: World) -> object:
    """What the act gives in this world: its value, or the name of its error."""
    try:
        return act(world)
    except JobsError as error:
        return type(error).__name__
