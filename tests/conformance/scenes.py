"""The small scenes that a ledger's tests are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any, Final, TypeVar
from uuid import NAMESPACE_DNS, uuid5

from jobs.errors import FailureClass, JobsError
from jobs.ids import new_job_id
from jobs.ledger import Ledger, Submitted
from jobs.model import (
    ArtifactKey,
    EditRequest,
    Failure,
    Holding,
    Job,
    JobId,
    Lease,
    NewJob,
    Order,
    Result,
    ServedModel,
    Suspicion,
    WorkerInfo,
)

T = TypeVar("T")
#: Lets time pass for the ledger under test.
LetPass = Callable[[timedelta], None]

SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
#: What a scene's own calls may take, on a ledger whose clock is the real one.
SLACK: Final = timedelta(seconds=10)
DIGEST: Final = "a" * 64
MODEL: Final = ServedModel(
    name="edit", revision="r1", profile_group="default", profiles=("quality", "fast")
)
#: The same model in another queue.
LIGHTNING: Final = ServedModel(
    name="edit", revision="r1", profile_group="lightning", profiles=("turbo",)
)
QUEUE: Final = MODEL.queue
UNKNOWN: Final = new_job_id()
SUSPICION: Final = Suspicion(code="black", message="no part is bright")
TIMINGS: Final = {"denoise": 1.5, "upload": 0.25}


class Clock:
    """No two readings are equal, as on a real one; otherwise it stands still."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(microseconds=1)
        return self._now

    def advance(self, span: timedelta) -> None:
        self._now += span


def worker(
    name: str = "gpu-1", *, model: ServedModel = MODEL, release: str | None = None
) -> WorkerInfo:
    return WorkerInfo(
        id=uuid5(NAMESPACE_DNS, name),
        holder=f"host/{name}/1",
        card=name,
        model=model,
        release=release,
    )


WORKER: Final = worker()
OTHER: Final = worker("gpu-2")


def asked(instruction: str = "make it red", **choices: Any) -> EditRequest:  # noqa: ANN401
    return EditRequest(
        **{"pictures": (DIGEST,), "instruction": instruction, "model": MODEL.name, **choices}
    )


def new(instruction: str = "make it red", **options: Any) -> NewJob:  # noqa: ANN401
    return NewJob(request=asked(instruction), **options)


def several(count: int, **options: Any) -> list[NewJob]:  # noqa: ANN401
    """Jobs of one tenant that differ in their instructions."""
    tenant = options.get("tenant", "")
    return [new(f"edit {tenant} {number}", **options) for number in range(count)]


def outcome(ledger: Ledger, one: NewJob) -> Submitted | JobsError:
    (found,) = ledger.submit([one])
    return found


def accepted(ledger: Ledger, one: NewJob) -> Submitted:
    found = outcome(ledger, one)
    assert isinstance(found, Submitted), found
    return found


def submitted(ledger: Ledger, one: NewJob | None = None) -> Job:
    return accepted(ledger, one or new()).job


def before(ledger: Ledger, job_id: JobId) -> int | None:
    """How many jobs start before a queued one."""
    place = ledger.place(job_id)
    return place.before if place else None


def all_submitted(ledger: Ledger, many: Iterable[NewJob]) -> list[JobId]:
    found = ledger.submit(list(many))
    return [one.job.id for one in found if isinstance(one, Submitted)]


def claimed(
    ledger: Ledger,
    job: Job | None = None,
    *,
    by: WorkerInfo = WORKER,
    lease: timedelta = MINUTE,
) -> Lease:
    job = job or submitted(ledger)
    held = ledger.claim(job.id, by, lease=lease)
    assert held is not None
    return held


def superseded_lease(ledger: Ledger) -> tuple[Lease, Lease]:
    """A lease that was handed back, and the one that another worker holds since."""
    stale = claimed(ledger)
    ledger.hand_back(stale, why="drain")
    return stale, claimed(ledger, stale.job, by=OTHER)


def result(lease: Lease, name: str = "picture") -> Result:
    return Result(
        key=ArtifactKey(f"{lease.job.id}/{lease.attempt}/{name}"),
        sha256=DIGEST,
        bytes=1_000,
        media_type="image/png",
        width=64,
        height=48,
    )


def completed(ledger: Ledger, lease: Lease, **timings: float) -> Job:
    return ledger.complete(lease, result(lease), timings=timings or TIMINGS)


def suspect(ledger: Ledger, one: NewJob) -> Job:
    """Succeeded, with a picture that a person should look at."""
    lease = claimed(ledger, submitted(ledger, one))
    return ledger.complete(lease, replace(result(lease), suspect=SUSPICION), timings=TIMINGS)


def failure(
    failure_class: FailureClass = FailureClass.TRANSIENT, message: str = "no luck"
) -> Failure:
    return Failure(failure_class=failure_class, code="oops", message=message)


def failed(ledger: Ledger, one: NewJob | None = None) -> Job:
    """A dead letter."""
    lease = claimed(ledger, submitted(ledger, one))
    return ledger.fail(lease, failure(FailureClass.PERMANENT))


def holding(lease: Lease, done: int = 0, total: int = 0) -> Holding:
    return Holding(job_id=lease.job.id, attempt=lease.attempt, steps_done=done, steps_total=total)


def renewed(ledger: Ledger, lease: Lease, *, by: WorkerInfo = WORKER, **more: Any) -> Order:  # noqa: ANN401
    return ledger.renew(by.id, [holding(lease)], **{"lease": MINUTE, **more})[lease.job.id]


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make these calls at the same moment, each on a thread of its own."""
    gate = Barrier(len(calls))

    def through(call: Callable[[], T]) -> T:
        gate.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(through, calls))
