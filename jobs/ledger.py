"""Port: what happened to every job, and who may work on it now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from jobs.errors import FailureClass, JobsError
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

LEASE: Final = timedelta(seconds=15)  # a job of a dead worker runs again after this
SECOND_LOSS: Final = timedelta(seconds=5)  # a pause for who may have ended two workers
POSITION_LIMIT: Final = 10_000  # jobs counted before another one
WORKER_TIMEOUT: Final = timedelta(seconds=30)  # silent for longer: not alive


@dataclass(frozen=True, kw_only=True, slots=True)
class Submitted:
    """``job`` is durable; ``created`` is false when the key already had it."""

    job: Job
    created: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One row of the audit: a job went from one state to another."""

    job_id: JobId
    at: datetime
    who: str
    from_state: JobState | None
    to_state: JobState
    attempt: int
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """An attempt that is over, on the release that its worker was started from."""

    job_id: JobId
    release: str | None
    card: str | None
    outcome: JobState  #: what became of the job
    failure_class: FailureClass | None
    timings: Mapping[str, float]  #: seconds by stage; empty unless it succeeded
    golden: str | None  #: the job's metadata of that name


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a queued job stands, if no other comes: by priority and fairly between tenants."""

    #: Jobs of its queue that start before it, not counting those that wait for their
    #: ``not_before``; ``POSITION_LIMIT`` means so many or more.
    before: int
    #: An estimate from recent jobs; ``None`` where nothing is known, no worker lives, it waits for
    #: its own ``not_before``, or the limit is reached.
    starts_in: timedelta | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Which jobs to list; ``before`` pages back from an id."""

    tenant: str | None = None
    state: JobState | None = None
    batch: str | None = None
    suspect: bool = False  #: only those whose picture a person should look at
    failure_class: FailureClass | None = None  #: of the latest failure
    code: str | None = None  #: of the latest failure
    holds_key: bool = False  #: only those not followed by another job of the same key
    before: JobId | None = None


class Ledger(Protocol):
    """The durable record; the broker only carries hints.

    Every method is one transaction: when it returns, the change is durable; when it
    raises, nothing changed.  Methods that take a lease raise ``LeaseLost`` once another
    attempt, a cancellation or the reconciler has moved the job on.  All raise
    ``Unavailable`` when the record cannot be reached.  Ownership is decided by the
    record's own clock, never by a caller's.
    """

    # ---- what a producer asks

    def submit(self, new: Sequence[NewJob]) -> list[Submitted | JobsError]:
        """Record jobs, or find those that their keys already made; in order.

        One item's ``IdempotencyConflict`` or ``ModelNotServed`` harms no other: it
        stands in its place of the list.
        """

    def get(self, job_id: JobId) -> Job:
        """Raises ``JobNotFound``."""

    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        """In the order of ``job_ids``; unknown ids are left out."""

    def list(self, where: JobFilter, *, limit: int = 100) -> list[Job]:
        """Newest first."""

    def counts(self, where: JobFilter) -> dict[JobState, int]: ...

    def cancel(self, job_id: JobId, *, who: str, why: str = "cancelled by the caller") -> Job:
        """Queued: cancelled at once.  Running: asked to.  Final: unchanged.  Idempotent."""

    def replay(self, job_ids: Sequence[JobId], *, who: str) -> Sequence[Submitted | JobsError]:
        """Make a new job of each failed or cancelled one; in order.

        The new job (``replay_of``) has the same request, a fresh budget and the old one's
        key.  Of one that was replayed or submitted anew before, it is the job that holds the
        key since, and ``created`` is false.  ``JobNotFound`` and ``NotReplayable`` stand in
        their places and harm no other.
        """

    def history(self, job_id: JobId) -> Sequence[Move]:
        """Every move of a job, oldest first."""

    def ended(self, *, within: timedelta, limit: int = 200_000) -> Sequence[Ended]:
        """Attempts of all tenants that ended in the last ``within``, newest first.

        For reports: it reads the whole table of attempts.
        """

    def place(self, job_id: JobId) -> Place | None:
        """Where a queued job stands in its line, else ``None``.  Raises ``JobNotFound``."""

    def touch_inputs(self, tenant: str, digests: Sequence[str]) -> set[str]:
        """Which of these inputs are stored; marks them used, so that no sweep takes them."""

    def record_input(self, tenant: str, digest: str, *, size: int, media_type: str) -> None:
        """Call after the upload."""

    def forget_input(self, tenant: str, digest: str) -> None:
        """The bucket has lost it: whoever submits it next uploads it again."""

    def models(self) -> Sequence[ServedModel]:
        """Every model that a worker has ever offered: those of live workers first, then the
        newest registration."""

    def live_workers(self) -> Sequence[WorkerInfo]: ...

    # ---- what a worker does

    def register(self, worker: WorkerInfo) -> None:
        """Offer what this worker has loaded.  Waiting jobs come by the next ``reroute``."""

    def retire(self, worker_id: UUID) -> None:
        """This worker will claim no more."""

    def claim(self, job_id: JobId, worker: WorkerInfo, *, lease: timedelta = LEASE) -> Lease | None:
        """Start the next attempt of this very job, or ``None`` if there is nothing to do."""

    def claim_next(
        self, worker: WorkerInfo, *, named: JobId | None = None, lease: timedelta = LEASE
    ) -> Lease | None:
        """Claim whichever job of the worker's queue is due: by priority, fair to tenants.

        ``named``: a message's job.  It goes before others of its tenant and priority, and
        before nobody else's: what a message stood for when it was sent may be another's turn
        now.  A message may come twice, or for a job that is done: then it names nothing.
        """

    def claim_some(
        self, worker: WorkerInfo, *, most: int, lease: timedelta = LEASE
    ) -> Sequence[Lease]:
        """As ``claim_next``, up to so many in one commit: for jobs of a few milliseconds."""

    def renew(
        self, worker_id: UUID, holdings: Sequence[Holding], *, lease: timedelta = LEASE
    ) -> Mapping[JobId, Order]:
        """Extend all leases of a worker, write their progress, bring back orders."""

    def complete(self, lease: Lease, result: Result, *, timings: Mapping[str, float]) -> Job:
        """running → succeeded.  ``timings``: seconds by stage."""

    def fail(self, lease: Lease, failure: Failure, *, retry_in: timedelta = timedelta(0)) -> Job:
        """running → queued while the budget lasts and the class allows it, else → failed."""

    def hand_back(self, lease: Lease, *, why: str) -> Job:
        """running → queued, counting no failure: a drain, a reload, a deploy."""

    def confirm_cancel(self, lease: Lease) -> Job:
        """running → cancelled, as the caller asked."""

    # ---- what a supervisor does

    def lose_worker(self, worker_id: UUID, *, why: str) -> Sequence[Job]:
        """End at once, as lost, all that a worker holds whose process was seen to end.

        As ``expire`` would, once the leases ran out: each job counts a failure, since any of
        them may be what ended it.  One that was on the card and was lost before waits
        ``SECOND_LOSS`` meanwhile, so that those beside it run without it.
        """

    # ---- what the reconciler does

    def expire(self, *, limit: int = 100) -> Sequence[Job]:
        """End what nobody will: leases that ran out, jobs past their start deadline."""

    def wake(self, queue: str, *, limit: int = 1_000) -> int:
        """Put jobs whose ``not_before`` has passed back into the line; how many.

        Only for speed: they may be claimed before that too.
        """

    def queues(self) -> Mapping[str, int]:
        """Queues with queued jobs or live workers, and how many live workers each has."""

    def reroute(self, queue: str, *, limit: int = 1_000) -> int:
        """Move queued jobs of a queue without live workers to live ones' queues; how many.

        Each to one that offers its model and profile; the others stay, as all do where the
        queue has a live worker.
        """

    def take_window(self, queue: str, *, size: int, most: int | None = None) -> Sequence[JobId]:
        """Mark jobs as dispatched until ``size`` of the queue stand so; return the new ones.

        ``most``: no more than so many at this call.
        By priority, then fairly between tenants, then oldest first.  One caller at a
        time per queue; another one gets nothing.
        """

    def standing(self, queue: str, *, older_than: timedelta) -> Sequence[JobId]:
        """Queued jobs of the queue that were dispatched longer ago than this."""

    def undispatch(self, job_ids: Sequence[JobId]) -> None:
        """Their messages are gone: they may be dispatched again."""
