"""Which job a submission means: its model's queue, its key and its seed."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jobs.errors import JobsError, ModelNotServed, NotReplayable
from jobs.model import (
    DERIVED_KEY,
    MAX_SEED,
    EditRequest,
    Job,
    JobId,
    NewJob,
    ServedModel,
    canonical_digest,
)
from jobs.states import JobState

#: Where jobs wait whose model or profile no worker has offered yet.  No worker has this group: one
#: that serves the model, but not the profile, would take them and fail.
UNSERVED_GROUP: Final = "unserved"


@dataclass(frozen=True, kw_only=True, slots=True)
class Keyed:
    """A submission with all that was left open decided."""

    new: NewJob
    served: ServedModel
    key: str
    derived: bool
    fingerprint: str
    seed: int

    def job(self, job_id: JobId, created_at: datetime) -> Job:
        """As the ledger has it from this moment on."""
        new = self.new
        return Job(
            id=job_id,
            tenant=new.tenant,
            state=JobState.QUEUED,
            request=new.request.decided(seed=self.seed),
            queue=self.served.queue,
            priority=new.priority,
            idempotency_key=self.key,
            max_failures=new.max_failures,
            batch=new.batch,
            metadata=dict(new.metadata),
            created_at=created_at,
            start_by=None if new.start_within is None else created_at + new.start_within,
            run_limit=new.run_limit,
        )


def keyed(new: NewJob, models: Sequence[ServedModel]) -> Keyed | JobsError:
    """Decide queue, key and seed; a ``ModelNotServed`` is returned, not raised.

    A caller who gives no key gets one from the content and the model's revision, so that
    running a whole pipeline again costs nothing; who gives no seed gets one from the same
    content, so that the same request makes the same picture (and a salt another one).
    """
    served = serving(new, models)
    if isinstance(served, JobsError):
        return served
    derived = new.idempotency_key is None
    content = new.request.content(revision=served.revision)
    # A salt may be long; an index holds a key of bounded length.
    salted = canonical_digest([content, new.salt]) if new.salt else content
    seed = new.request.seed
    return Keyed(
        new=new,
        served=served,
        key=f"{DERIVED_KEY}{salted}" if new.idempotency_key is None else new.idempotency_key,
        derived=derived,
        fingerprint=new.request.content(),
        seed=int(salted[:16], 16) & MAX_SEED if seed is None else seed,
    )


def queue_again(request: EditRequest, models: Sequence[ServedModel]) -> str:
    """Where a request goes that was accepted once: it waits if nobody serves it any more."""
    return (_offer(request, models) or _nobody(request)).queue


def _offer(request: EditRequest, models: Sequence[ServedModel]) -> ServedModel | None:
    offers = (one for one in models if one.name == request.model)
    return next((one for one in offers if request.profile in one.profiles), None)


def _nobody(request: EditRequest) -> ServedModel:
    return ServedModel(
        name=request.model, revision="", profile_group=UNSERVED_GROUP, profiles=(request.profile,)
    )


def serving(new: NewJob, models: Sequence[ServedModel]) -> ServedModel | JobsError:
    """The newest registration that offers the asked model and profile."""
    request = new.request
    one = _offer(request, models)
    if one is not None:
        return one
    if new.wait_for_model:
        return _nobody(request)
    offers = [one for one in models if one.name == request.model]
    if offers:
        profiles = ", ".join(sorted({name for one in offers for name in one.profiles}))
        return ModelNotServed(
            f"profile {request.profile!r}: workers of {request.model!r} offer {profiles}"
        )
    names = ", ".join(sorted({one.name for one in models})) or "nothing yet"
    return ModelNotServed(
        f"model {request.model!r}: no worker has ever offered it; offered: {names}."
        " Start a worker for it, or ask to wait for one"
    )


def check_replayable(job: Job, *, stored: Container[str]) -> JobsError | None:
    """``None`` if this job may be replayed; ``stored``: its tenant's inputs that are kept.

    A dead letter may, and a job that was cancelled: its key stands for nothing else.  What
    runs, waits or succeeded is no failure: the same request with another key, or
    a salt, makes another.
    """
    if job.state not in {JobState.FAILED, JobState.CANCELLED}:
        return NotReplayable(
            f"job {job.id} is {job.state}: only failed and cancelled jobs are replayed"
        )
    for digest in job.request.pictures:
        if digest not in stored:
            return NotReplayable(
                f"job {job.id}: its picture {digest[:12]}… is not kept any more; submit it again"
            )
    return None
