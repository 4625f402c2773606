"""The library: submit, status, wait, result, cancel, replay, list."""

from __future__ import annotations

import builtins
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, Self

from jobs.artifacts import ArtifactStore
from jobs.checks import checked_name
from jobs.dispatch import Dispatcher
from jobs.errors import InvalidRequest, JobNotFound, JobsError, NoResult, Timeout
from jobs.ids import job_id
from jobs.ledger import JobFilter, Ledger, Move, Place, Submitted
from jobs.model import (
    DEFAULT_MODEL,
    DEFAULT_TENANT,
    EditRequest,
    Job,
    JobId,
    NewJob,
    Result,
)
from jobs.reconciler import Reconciler
from jobs.states import JobState
from jobs.tokens import Count, check_tokens
from producer.arguments import Named, Span, check_filter, job_ids, listed, span
from producer.dispatching import Nudger
from producer.edits import REQUEST, Edit, check, pictures_of, treatment_of
from producer.inputs import Inputs
from producer.sending import Draft, Offers, Sender

CHUNK: Final = 500  # jobs recorded in one transaction
PAGE: Final = 1_000  # jobs read in one statement
FIRST_POLL: Final = 0.05  # seconds
LONGEST_POLL: Final = 1.0  # seconds
LINK_FOR: Final = timedelta(hours=1)
LONGEST_LINK: Final = timedelta(days=7)  # S3 signs none for longer


class Client:
    """Submits edits and asks about them.  Thread-safe.  Close it, or use ``with``.

    Raises ``InvalidRequest`` for a tenant, a model or a profile that none can be called.
    """

    def __init__(  # noqa: PLR0913 - three ports, three defaults and two helpers, by name
        self,
        *,
        ledger: Ledger,
        artifacts: ArtifactStore,
        dispatcher: Dispatcher,
        tenant: str = DEFAULT_TENANT,
        model: str = DEFAULT_MODEL,
        profile: str = "quality",
        count_tokens: Count | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.ledger = ledger
        self.artifacts = artifacts
        self.tenant = checked_name("tenant", tenant)
        self.model = checked_name("model", model)
        self.profile = checked_name("profile", profile)
        self._count_tokens = count_tokens
        self._on_close = on_close
        self._inputs = Inputs(ledger, artifacts, tenant)
        self._offers = Offers(ledger)
        self._nudger = Nudger(ledger, Reconciler(ledger=ledger, dispatcher=dispatcher))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the last hints half a second to reach Redis; nothing is lost if they do not."""
        self._nudger.close(0.5)
        if self._on_close:
            self._on_close()

    # ---- submit

    def submit(self, edit: Edit) -> Job:
        """Return once the job is durable; the same key, or the same content, is the same job.

        Raises ``InvalidRequest`` (``UnusablePicture`` names the file), ``ModelNotServed``,
        ``IdempotencyConflict`` or ``Unavailable``; Redis being away is none of them.
        """
        (outcome,) = self.submit_many([edit])
        if isinstance(outcome, JobsError):
            raise outcome
        return outcome.job

    def submit_many(self, edits: Iterable[Edit]) -> builtins.list[Submitted | JobsError]:
        """In order; one edit's error stands in its place and harms no other."""
        outcomes: builtins.list[Submitted | JobsError] = []
        for chunk in self.submitting(edits):
            outcomes.extend(chunk)
        return outcomes

    def submitting(
        self, edits: Iterable[Edit], *, each: Callable[[], None] | None = None
    ) -> Iterator[builtins.list[Submitted | JobsError]]:
        """``submit_many`` by chunks; ``each`` is called as an edit's pictures are uploaded.

        Once ledger or bucket do not answer, the edits that follow get the same error untried.
        """
        wanted: builtins.list[Edit] = listed("edits", edits)
        sender = Sender(self._inputs, self._offers)
        if len(wanted) == 1:  # no threads for that
            yield self._record(_counted([sender.one(self._draft(wanted[0]))], each))
            return
        for ready in sender.chunks(wanted, self._draft, size=CHUNK):
            yield self._record(_counted(ready, each))

    def _draft(self, edit: Edit) -> Draft | JobsError:
        """Everything that can be wrong without the pictures is said before they are sent."""
        try:
            check(edit)
            given = pictures_of(edit)
            new = NewJob(request=self._request(edit), tenant=self.tenant, **treatment_of(edit))
        except InvalidRequest as error:
            return error
        return Draft(new=new, pictures=given)

    def _request(self, edit: Edit) -> EditRequest:
        """Its pictures are still none.  Raises ``InvalidRequest``."""
        given = {name: getattr(edit, name) for name in REQUEST}
        usual = {"model": edit.model or self.model, "profile": edit.profile or self.profile}
        request = EditRequest(pictures=("0" * 64,), **{**given, **usual})
        if self._count_tokens is not None:
            for what in ("instruction", "negative"):
                text = getattr(request, what) or ""
                check_tokens(request.model, what, text, self._count_tokens)
        return request

    def _record(self, ready: Iterable[NewJob | JobsError]) -> builtins.list[Submitted | JobsError]:
        prepared = [*ready]
        new = [one for one in prepared if isinstance(one, NewJob)]
        recorded = iter(self._recorded(new))
        outcomes = [one if isinstance(one, JobsError) else next(recorded) for one in prepared]
        self._nudge(outcomes)
        return outcomes

    def _recorded(self, new: Sequence[NewJob]) -> Sequence[Submitted | JobsError]:
        try:
            return self.ledger.submit(new)
        except JobsError as error:
            return [error] * len(new)

    # ---- ask

    def status(self, job: Named) -> Job:
        """By its id, as everywhere here a UUID, the text of it, or a job that has it.

        Raises ``JobNotFound``, or ``InvalidRequest`` for what is no id.
        """
        return self.ledger.get(job_id(job))

    def place(self, job: Named) -> Place | None:
        """How many jobs start before a queued one, and when it will; ``None`` for another."""
        return self.ledger.place(job_id(job))

    def unserved(self, jobs: Iterable[Job]) -> builtins.list[Job]:
        """Those that are queued where no worker lives to take them: they wait for one."""
        live = {queue for queue, workers in self.ledger.queues().items() if workers}
        return [job for job in jobs if job.state is JobState.QUEUED and job.queue not in live]

    def history(self, job: Named) -> Sequence[Move]:
        """Every move of the job, oldest first.  Raises ``JobNotFound``."""
        return self.ledger.history(self.status(job).id)

    def batch(self, name: str, *, replaced: bool = False) -> builtins.list[Job]:
        """The jobs of a batch, oldest first.  Raises ``JobNotFound`` when there is none.

        Where one of them took another's key over, by a replay or as the same was submitted anew,
        it stands in the other's place; with ``replaced`` both do, each in its own.
        """
        if name is None:  # as a filter has it, that is every job there is
            raise InvalidRequest("batch: expected str, got NoneType")
        jobs = self.all_of(self._of(name))[::-1]
        if not jobs:
            raise self.no_batch(name)
        if replaced:
            return jobs
        by_age = sorted(jobs, key=lambda job: job.created_at)  # ids are of the submitters' clocks
        return [*{job.idempotency_key: job for job in by_age}.values()]

    def no_batch(self, name: str) -> JobNotFound:
        """Of another tenant there may well be one of this name."""
        return JobNotFound(f"no job in batch {name!r} of tenant {self.tenant!r}")

    def all_of(self, where: JobFilter) -> builtins.list[Job]:
        """Newest first, however many there are."""
        jobs: builtins.list[Job] = []
        while page := self.list(where, limit=PAGE):
            jobs += page
            where = replace(where, before=page[-1].id)
        return jobs

    def list(self, where: JobFilter | None = None, *, limit: int = 100) -> builtins.list[Job]:
        """Newest first; this client's tenant unless ``where`` says otherwise.

        Raises ``InvalidRequest``, as all that asks for many does.
        """
        where = self._of() if where is None else where
        check_filter(where, limit)
        return self.ledger.list(where, limit=limit)

    def counts(self, *, batch: str | None = None) -> dict[JobState, int]:
        return self.ledger.counts(self._of(batch))

    def suspects(self, *, batch: str | None = None) -> int:
        """How many pictures a person should look at."""
        return sum(self.ledger.counts(replace(self._of(batch), suspect=True)).values())

    def _of(self, batch: str | None = None) -> JobFilter:
        where = JobFilter(tenant=self.tenant, batch=batch)
        check_filter(where)
        return where

    def wait(self, job: Named, *, timeout: Span | None = None) -> Job:
        """Return the finished job.  Raises ``Timeout``; the job goes on all the same."""
        (finished,) = self.wait_all([job], timeout=timeout)
        return finished

    def wait_all(self, jobs: Sequence[Named], *, timeout: Span | None = None) -> builtins.list[Job]:
        """All of them, finished, in order.  Raises ``Timeout``, ``JobNotFound``."""
        return deque(self.watch(jobs, timeout=timeout), maxlen=1).pop()

    def watch(
        self, jobs: Sequence[Named], *, timeout: Span | None = None
    ) -> Iterator[builtins.list[Job]]:
        """The jobs as they are, again and again, until all are final."""
        longest = None if timeout is None else span("timeout", timeout)
        deadline = None if longest is None else time.monotonic() + longest.total_seconds()
        pause = FIRST_POLL
        named = job_ids(jobs)
        found = {job.id: job for job in self._found(named)}
        while True:
            yield [found[one] for one in named]
            left = [job.id for job in found.values() if not job.state.is_final]
            if not left:
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise Timeout(f"{len(left)} of {len(found)} jobs not finished after {longest}")
            _pause(pause)
            pause = min(LONGEST_POLL, pause * 1.3)
            found |= {job.id: job for job in self._found(left)}  # the others are final

    def _found(self, named: Sequence[JobId]) -> builtins.list[Job]:
        jobs = self.ledger.get_many(named)
        if len(jobs) < len(named):
            for one in named:
                self.ledger.get(one)  # raises JobNotFound, naming the id
        return jobs

    def result(self, job: Named) -> bytes:
        """The picture.  Raises ``NoResult`` with the reason when there is none."""
        return self.artifacts.get(_announced(self.status(job)).key)

    def link(self, job: Named, *, expires: Span = LINK_FOR) -> str:
        """A URL to download the picture, good for a second to a week.

        Raises ``NoResult``, ``InvalidRequest``.
        """
        job = job if isinstance(job, Job) and job.state.is_final else self.status(job)
        result = _announced(job)
        name = f"{job.id}.{job.request.format.value}"
        lasting = span("expires", expires)
        if not timedelta(seconds=1) <= lasting <= LONGEST_LINK:
            raise InvalidRequest(f"expires: 1 s to {LONGEST_LINK.days} days, got {lasting}")
        return self.artifacts.link(result.key, expires=lasting, download_as=name)

    def cancel(self, job: Named, *, who: str = "caller") -> Job:
        """Idempotent.  A running job stops within one step; a finished one stays as it is."""
        return self.ledger.cancel(job_id(job), who=who)

    def replay(
        self, jobs: Sequence[Named], *, who: str = "caller"
    ) -> builtins.list[Submitted | JobsError]:
        """New jobs of failed or cancelled ones, in order; see ``Ledger.replay``.

        One that may not be replayed (``NotReplayable``, ``JobNotFound``) harms no other.
        """
        outcomes: builtins.list[Submitted | JobsError] = []
        named = job_ids(jobs)
        for start in range(0, len(named), CHUNK):
            outcomes += self.ledger.replay(named[start : start + CHUNK], who=who)
        self._nudge(outcomes)
        return outcomes

    def _nudge(self, outcomes: Sequence[Submitted | JobsError]) -> None:
        for queue in {one.job.queue for one in outcomes if isinstance(one, Submitted)}:
            self._nudger.nudge(queue)


def _announced(job: Job) -> Result:
    if job.result is None:
        reason = f": {job.failure.message}" if job.failure else ""
        raise NoResult(f"job {job.id} is {job.state} and has no picture{reason}")
    if job.result_deleted_at is not None:
        when = job.result_deleted_at.isoformat(sep=" ", timespec="minutes")
        raise NoResult(f"job {job.id}: its picture was deleted at {when}; submit it again")
    return job.result


def _counted(
    prepared: Iterable[NewJob | JobsError], each: Callable[[], None] | None
) -> Iterator[NewJob | JobsError]:
    for one in prepared:
        if each:
            each()
        yield one


def _pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - the one place that polls, with growing pauses
