"""A sweep: removes what policy keeps no longer, from ledger and bucket, in an order that is safe.

Whatever is announced is withdrawn from the ledger before its object goes; an input is forgotten
before its object goes; an object whose row said otherwise a moment ago is left to the next sweep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, TypeVar
from uuid import UUID

from jobs.artifacts import ArtifactStore, Stored
from jobs.ledger import Ledger
from jobs.model import Job, JobId
from jobs.retention import Retention, StoredInput
from jobs.states import JobState

T = TypeVar("T")
BATCH: Final = 500  # rows or objects of one statement or request
INPUTS: Final = 100  # objects deleted while submits that want them wait
MOST: Final = 10_000  # of each kind in one run

_UUID = "-".join(rf"[0-9a-f]{{{length}}}" for length in (8, 4, 4, 4, 12))
_OUTPUT = re.compile(rf"[^/]+/outputs/(?P<job>{_UUID})/(?P<attempt>[0-9]{{1,9}})\.[a-z]+")
_INPUT = re.compile(r"(?P<tenant>[^/]+)/inputs/(?P<sha256>[0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    keep_jobs: timedelta
    keep_inputs: timedelta
    orphan_age: timedelta
    most: int = MOST  #: of each kind in one run


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """Of one kind: what would go, or has gone.  ``partial``: there may be more of it."""

    kind: str
    count: int
    bytes: int | None = None  #: ``None`` where it is rows alone
    partial: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Safe to run from several hosts at once, and to kill at any moment."""

    ledger: Ledger
    retention: Retention
    artifacts: ArtifactStore
    policy: Policy
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def look(self) -> list[Swept]:
        """Change nothing.  Raises ``Unavailable``, as ``act`` does."""
        keep, most = self.policy.keep_jobs, self.policy.most
        results = self.retention.due_results(keep, limit=most)
        inputs = self.retention.due_inputs(self.policy.keep_inputs, limit=most)
        orphans, lone = self._orphans()
        return [
            self._swept("results", len(results), sum(_size(job) for job in results)),
            self._swept("jobs", len(self.retention.due_jobs(keep, limit=most))),
            self._swept("inputs", len(inputs), sum(one.bytes for one in inputs)),
            self._swept("orphaned outputs", len(orphans), sum(one.bytes for one in orphans)),
            self._swept("unrecorded inputs", len(lone), sum(one.bytes for one in lone)),
            self._swept("workers", len(self.retention.due_workers(keep, limit=most))),
        ]

    def act(self) -> list[Swept]:
        return [
            self._results(),
            self._jobs(),
            self._inputs(),
            *self._lost_objects(),
            self._workers(),
        ]

    def _results(self) -> Swept:
        """Withdrawn first: one that is killed in between leaves an orphan for a later sweep."""
        gone: list[Job] = []
        for size in self._batches(BATCH):
            jobs = self.retention.withdraw_results(self.policy.keep_jobs, limit=size)
            self.artifacts.delete([job.result.key for job in jobs if job.result])
            gone += jobs
            if len(jobs) < size:
                break
        return self._swept("results", len(gone), sum(_size(job) for job in gone))

    def _jobs(self) -> Swept:
        return self._swept("jobs", self._removed(self.retention.remove_jobs))

    def _workers(self) -> Swept:
        return self._swept("workers", self._removed(self.retention.remove_workers))

    def _removed(self, remove: Callable[..., int]) -> int:
        total = 0
        for size in self._batches(BATCH):
            count = remove(self.policy.keep_jobs, limit=size)
            total += count
            if count < size:
                break
        return total

    def _inputs(self) -> Swept:
        gone: list[StoredInput] = []
        for size in self._batches(INPUTS):
            inputs = self.retention.remove_inputs(
                self.policy.keep_inputs, limit=size, delete=self.artifacts.delete
            )
            gone += inputs
            if len(inputs) < size:
                break
        return self._swept("inputs", len(gone), sum(one.bytes for one in gone))

    def _lost_objects(self) -> list[Swept]:
        orphans, lone = self._orphans()
        for some in _chunks(orphans, BATCH):
            self.artifacts.delete([one.key for one in some])
        adopted = sum(self.retention.adopt(some) for some in _chunks(lone, BATCH))
        return [
            self._swept("orphaned outputs", len(orphans), sum(one.bytes for one in orphans)),
            self._swept("unrecorded inputs", adopted, sum(one.bytes for one in lone)),
        ]

    def _orphans(self) -> tuple[list[Stored], list[StoredInput]]:
        """Old objects that no job announces or may still announce, and inputs without a row."""
        before = self.clock() - self.policy.orphan_age
        old = (one for one in self.artifacts.stored("") if one.at < before)
        orphans: list[Stored] = []
        lone: list[StoredInput] = []
        for some in _chunks(old, BATCH):
            orphans += self._unannounced(some)
            lone += self.retention.unrecorded([*_inputs_of(some)])
            if max(len(orphans), len(lone)) >= self.policy.most:
                break
        return orphans[: self.policy.most], lone[: self.policy.most]

    def _unannounced(self, objects: Sequence[Stored]) -> list[Stored]:
        named = [(one, match) for one in objects if (match := _OUTPUT.fullmatch(one.key))]
        ids = {one.key: JobId(UUID(match["job"])) for one, match in named}
        # Read after the objects were listed: a job only moves on, so what is none of its
        # pictures now will never be.
        jobs = {job.id: job for job in self.ledger.get_many(list(dict.fromkeys(ids.values())))}
        return [
            one
            for one, match in named
            if _is_orphan(one, jobs.get(ids[one.key]), int(match["attempt"]))
        ]

    def _batches(self, size: int) -> Iterator[int]:
        """Sizes that add up to the most there may be in one run."""
        for start in range(0, self.policy.most, size):
            yield min(size, self.policy.most - start)

    def _swept(self, kind: str, count: int, size: int | None = None) -> Swept:
        return Swept(kind=kind, count=count, bytes=size, partial=count >= self.policy.most)


def _is_orphan(one: Stored, job: Job | None, attempt: int) -> bool:
    if job is None:
        return True
    if job.result is not None and job.result.key == one.key:
        return job.result_deleted_at is not None
    if attempt > job.attempt:
        return False  # the ledger is older than the bucket: restored from a backup?
    return attempt < job.attempt or job.state is not JobState.RUNNING


def _inputs_of(objects: Iterable[Stored]) -> Iterator[StoredInput]:
    for one in objects:
        if match := _INPUT.fullmatch(one.key):
            yield StoredInput(tenant=match["tenant"], sha256=match["sha256"], bytes=one.bytes)


def _chunks(things: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(things)
    while some := list(islice(rest, size)):
        yield some


def _size(job: Job) -> int:
    return job.result.bytes if job.result else 0
