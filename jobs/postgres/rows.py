"""Rows to nouns and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import RowMapping

from jobs.errors import FailureClass
from jobs.model import (
    EditRequest,
    Failure,
    Job,
    JobId,
    NewJob,
    OutputFormat,
    Priority,
    Result,
    ServedModel,
)
from jobs.states import JobState

#: Columns that a ``Job`` takes as they are.
_SAME = (
    "tenant",
    "queue",
    "idempotency_key",
    "attempt",
    "failures",
    "max_failures",
    "batch",
    "metadata",
    "created_at",
    "started_at",
    "finished_at",
    "not_before",
    "start_by",
    "run_limit",
    "expires_at",
    "result_deleted_at",
    "dispatched_at",
    "cancel_requested_at",
    "holder",
    "lease_expires_at",
    "steps_done",
    "steps_total",
    "release",
)


#: Parameters that the first release did not write, and their defaults.
ADDED: Final[Mapping[str, object]] = {"quality": None, "alpha": False}


def job_of(row: RowMapping) -> Job:
    return Job(
        id=JobId(row["id"]),
        state=JobState(row["state"]),
        request=request_of(row),
        priority=Priority(row["priority"]),
        result=Result.from_json(row["result"]) if row["result"] else None,
        failure=failure_of(row),
        replay_of=JobId(row["replay_of"]) if row["replay_of"] else None,
        **{name: row[name] for name in _SAME},
    )


def request_of(row: RowMapping) -> EditRequest:
    parameters = dict(row["parameters"])
    return EditRequest.recorded(
        pictures=tuple(row["pictures"]),
        instruction=row["instruction"],
        model=row["model"],
        profile=row["profile"],
        seed=row["seed"],
        format=OutputFormat(parameters.pop("format")),
        **parameters,
    )


def failure_of(row: RowMapping) -> Failure | None:
    if row["failure_class"] is None:
        return None
    return Failure(
        failure_class=FailureClass(row["failure_class"]),
        code=row["error_code"] or "",
        message=row["error"] or "",
    )


def values_of(new: NewJob, served: ServedModel, *, key: str, seed: int) -> Mapping[str, Any]:
    """The columns of a new job that its caller decides."""
    request = new.request
    return {
        "tenant": new.tenant,
        "queue": served.queue,
        "priority": int(new.priority),
        "batch": new.batch,
        "model": request.model,
        "profile": request.profile,
        "instruction": request.instruction,
        "pictures": list(request.pictures),
        "seed": seed,
        "parameters": _parameters(request),
        "metadata": dict(new.metadata),
        "idempotency_key": key,
        "key_derived": new.idempotency_key is None,
        "fingerprint": request.content(),
        "max_failures": new.max_failures,
        "run_limit": new.run_limit,
        "keep_for": new.keep_for,
    }


def _parameters(request: EditRequest) -> Mapping[str, Any]:
    """What a later release added is left out unless it is used: workers of the release before
    read every job that does not use it."""
    parameters = request.parameters()
    unused = {name for name, default in ADDED.items() if parameters[name] == default}
    return {name: value for name, value in parameters.items() if name not in unused}


def storable(text: str) -> str:
    """Postgres holds neither NUL nor half a surrogate pair; a library's message may."""
    return text.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
