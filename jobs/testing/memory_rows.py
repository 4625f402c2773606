"""A job as the ledger in memory keeps it, and the one door through which it moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from jobs.errors import FailureClass
from jobs.ids import new_job_id
from jobs.keys import Keyed
from jobs.ledger import Ended, Move
from jobs.model import Failure, Job, JobId, Lease, NewJob, Order, WorkerInfo
from jobs.states import MOVES, JobState

QUEUED, RUNNING = JobState.QUEUED, JobState.RUNNING
#: What a job needs to be queued again.
REQUEUED: Final[Mapping[str, Any]] = {"dispatched_at": None, "steps_done": 0}
#: What a job is before anything has happened to it.
BLANK: Final[Mapping[str, Any]] = {
    **REQUEUED,
    **dict.fromkeys(("attempt", "failures", "steps_total"), 0),
    **dict.fromkeys(("started_at", "finished_at", "not_before", "cancel_requested_at"), None),
    **dict.fromkeys(("failure", "release"), None),
}


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRecord:
    """What is kept of an attempt: where it ran, on what, and how it ended."""

    number: int
    holder: str
    card: str | None
    model_revision: str | None
    release: str | None
    outcome: JobState | None = None  #: what became of the job; ``None`` while it runs
    failure: Failure | None = None
    timings: Mapping[str, float] | None = None
    ended_at: datetime | None = field(default=None, compare=False)


@dataclass(kw_only=True, slots=True)
class Row:
    """A job, and what the port does not show of it."""

    job: Job
    derived: bool
    fingerprint: str
    new: NewJob
    superseded: bool = False
    worker_id: UUID | None = None
    attempt_started_at: datetime | None = None
    asked_by: str = ""  #: who wanted it cancelled, and why
    asked_why: str = ""
    moves: list[Move] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)

    @property
    def place(self) -> tuple[str, str]:
        """Tenant and key: what one live job may have."""
        return self.job.tenant, self.job.idempotency_key

    @property
    def is_standing(self) -> bool:
        return self.job.state is QUEUED and self.job.dispatched_at is not None

    def is_due(self, now: datetime) -> bool:
        """Queued, and neither too early nor too late to start."""
        job = self.job
        early = job.not_before is not None and job.not_before > now
        return job.state is QUEUED and not early and not self.is_late(now)

    def is_late(self, now: datetime) -> bool:
        """A deadline is for the first attempt alone."""
        job = self.job
        return job.start_by is not None and job.start_by <= now and job.attempt == 0

    def is_useless(self, now: datetime) -> bool:
        """It will never give a picture, or gives it no more."""
        job = self.job
        expired = job.expires_at is not None and job.expires_at <= now
        expired = expired or job.result_deleted_at is not None
        ended = job.state in {JobState.FAILED, JobState.CANCELLED}
        return ended or expired or (job.state is RUNNING and job.cancel_requested_at is not None)

    def move(self, to: JobState, *, at: datetime, who: str, why: str, **changes: Any) -> Job:  # noqa: ANN401 - fields of a job
        """Change state, leave a row in the audit.  Nonsense is a bug, and raises."""
        before = self.job
        if to not in MOVES[before.state]:
            raise AssertionError(f"job {before.id}: no move from {before.state} to {to}")
        self.store(replace(before, state=to, **changes))
        self._note(before.state, at=at, who=who, why=why)
        return self.job

    def store(self, job: Job) -> None:
        for name, holds in CONSTRAINTS.items():
            if not holds(job):
                raise AssertionError(f"job {job.id}: violates {name}: {job}")
        self.job = job

    def _note(self, before: JobState | None, *, at: datetime, who: str, why: str) -> None:
        job = self.job
        self.moves.append(
            Move(
                job_id=job.id,
                at=at,
                who=who,
                from_state=before,
                to_state=job.state,
                attempt=job.attempt,
                why=why,
            )
        )

    @classmethod
    def of(cls, item: Keyed, *, now: datetime, who: str) -> Row:
        job = item.job(new_job_id(), now)
        row = cls(job=job, derived=item.derived, fingerprint=item.fingerprint, new=item.new)
        row.store(job)
        row._note(None, at=now, who=who, why="submitted")
        return row

    def replayed(self, queue: str, *, now: datetime, who: str) -> Row:
        """The job that follows this one, with its key."""
        old = self.job
        self.superseded = True
        fresh = replace(
            old,
            id=new_job_id(),
            state=QUEUED,
            queue=queue,
            created_at=now,
            start_by=old.start_by and now + (old.start_by - old.created_at),
            replay_of=old.id,
            **BLANK,
        )
        row = Row(job=fresh, derived=self.derived, fingerprint=self.fingerprint, new=self.new)
        row.store(fresh)
        row._note(None, at=now, who=who, why=f"replay of {old.id}")
        return row

    # ---- attempts

    def order(self, now: datetime) -> Order:
        """What the attempt's next renewal is told."""
        job, began = self.job, self.attempt_started_at
        if job.cancel_requested_at is not None:
            return Order.CANCEL
        late = job.run_limit is not None and began is not None and began + job.run_limit < now
        return Order.STOP if late else Order.CONTINUE

    def start(
        self, worker: WorkerInfo, known: WorkerInfo | None, *, now: datetime, lease: timedelta
    ) -> Lease:
        self.worker_id, self.attempt_started_at = worker.id, now
        job = self.move(
            RUNNING,
            at=now,
            who=worker.holder,
            why="claimed",
            attempt=self.job.attempt + 1,
            holder=worker.holder,
            release=worker.release,
            lease_expires_at=now + lease,
            not_before=None,
            started_at=self.job.started_at or now,
            steps_done=0,
            steps_total=0,
            failure=None,
        )
        self.attempts.append(
            AttemptRecord(
                number=job.attempt,
                holder=worker.holder,
                card=known.card if known else None,
                model_revision=known.model.revision if known else None,
                release=worker.release,
            )
        )
        return Lease(job=job, attempt=job.attempt, holder=worker.holder)

    def end(
        self,
        to: JobState,
        *,
        at: datetime,
        who: str,
        why: str,
        timings: Mapping[str, float] | None = None,
        **changes: Any,  # noqa: ANN401 - fields of a job
    ) -> Job:
        """End the running attempt; a cancellation that was asked for outranks another attempt."""
        if self.job.cancel_requested_at is not None and to in {QUEUED, JobState.FAILED}:
            to = JobState.CANCELLED
        self.worker_id = self.attempt_started_at = None
        job = self.move(
            to,
            at=at,
            who=who,
            why=why,
            holder=None,
            lease_expires_at=None,
            finished_at=None if to is QUEUED else at,
            **changes,
        )
        last = replace(self.attempts[-1], outcome=to, failure=job.failure, timings=timings)
        self.attempts[-1] = replace(last, ended_at=at)
        return job

    def ended(self, since: datetime) -> list[tuple[datetime, Ended]]:
        """With when: attempts that ended later than this."""
        return [
            (
                one.ended_at,
                Ended(
                    job_id=self.job.id,
                    release=one.release,
                    card=one.card,
                    outcome=one.outcome,
                    failure_class=one.failure.failure_class if one.failure else None,
                    timings=one.timings or {},
                    golden=self.job.metadata.get("golden"),
                ),
            )
            for one in self.attempts
            if one.ended_at and one.outcome and one.ended_at > since
        ]

    def end_badly(
        self, failure: Failure, *, at: datetime, who: str, why: str, not_before: datetime | None
    ) -> Job:
        counts = failure.failure_class is not FailureClass.PERMANENT
        failures = self.job.failures + counts
        again = counts and failures < self.job.max_failures
        return self.end(
            QUEUED if again else JobState.FAILED,
            at=at,
            who=who,
            why=why,
            failures=failures,
            failure=failure,
            not_before=not_before,
            **REQUEUED,
        )


#: What the schema's constraints of the same names promise of every row.
CONSTRAINTS: Final[Mapping[str, Callable[[Job], bool]]] = {
    "leased_only_while_running": lambda job: (
        (job.state is RUNNING) == (job.lease_expires_at is not None)
    ),
    "held_only_while_running": lambda job: (job.state is RUNNING) == (job.holder is not None),
    "finished_when_final": lambda job: job.state.is_final == (job.finished_at is not None),
    "result_only_on_success": lambda job: (
        (job.state is JobState.SUCCEEDED) == (job.result is not None)
    ),
    "failed_for_a_reason": lambda job: job.state is not JobState.FAILED or job.failure is not None,
    "running_is_an_attempt": lambda job: job.state is not RUNNING or job.attempt > 0,
    "failures_within_attempts": lambda job: 0 <= job.failures <= job.attempt,
    "queued_within_budget": lambda job: job.state is not QUEUED or job.failures < job.max_failures,
}


def in_turn(
    rows: Iterable[Row],
    wanted: Callable[[Row], bool],
    *,
    busy: Callable[[Row], bool] = lambda row: row.job.state is RUNNING,
    served: Sequence[str] = (),
    named: JobId | None = None,
) -> list[Row]:
    """A queue's wanted rows: by priority, then fairly between tenants, then oldest first.

    A tenant's turn comes after as many jobs as it is ``busy`` with; of two with the same turn,
    the one ``served`` last goes last; ``named`` goes first in its own line.
    """
    rows = sorted(rows, key=lambda row: (row.job.id != named, row.job.id))
    turns: Counter[tuple[str, int]] = Counter()
    taken = Counter(row.job.tenant for row in rows if busy(row))
    order = []
    for row in filter(wanted, rows):
        job = row.job
        turns[job.tenant, job.priority] += 1
        turn = turns[job.tenant, job.priority] + taken[job.tenant]
        last = served.index(job.tenant) if job.tenant in served else -1
        order.append((-job.priority, turn, last, job.id, row))
    return [row for *_, row in sorted(order, key=lambda place: place[:4])]
