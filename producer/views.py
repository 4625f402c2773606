"""A job as JSON: the same words on the command line and over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from jobs.errors import JobsError
from jobs.ledger import Place
from jobs.model import Job


def job_json(job: Job) -> dict[str, Any]:
    """Everything a caller may know; instants in ISO 8601, spans in seconds."""
    request = job.request
    return {
        "id": str(job.id),
        "state": job.state.value,
        "progress": round(job.progress, 3),
        "instruction": request.instruction,
        "pictures": list(request.pictures),
        "model": request.model,
        "profile": request.profile,
        "seed": request.seed,
        **request.parameters(),
        "tenant": job.tenant,
        "batch": job.batch,
        "priority": job.priority.name.lower(),
        "metadata": dict(job.metadata),
        "idempotency_key": job.idempotency_key,
        "attempt": job.attempt,
        "failures": job.failures,
        "max_failures": job.max_failures,
        "cancel_requested": job.cancel_requested_at is not None,
        "result": asdict(job.result) if job.result else None,
        "error": _failure(job),
        "replay_of": str(job.replay_of) if job.replay_of else None,
        **_instants(job),
    }


def starts_in(place: Place | None) -> int | None:
    """Seconds, to two digits: an estimate, which changes only as it matters."""
    if place is None or place.starts_in is None:
        return None
    return int(float(f"{place.starts_in.total_seconds():.2g}"))


def error_json(error: JobsError, **more: str) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": str(error)}, **more}


def _failure(job: Job) -> Mapping[str, str] | None:
    if job.failure is None:
        return None
    failure = job.failure
    return {
        "class": failure.failure_class.value,
        "code": failure.code,
        "message": failure.message,
    }


def _instants(job: Job) -> Mapping[str, str | None]:
    names = (
        *("created_at", "started_at", "finished_at", "not_before", "start_by", "expires_at"),
        "result_deleted_at",
    )
    return {name: _iso(getattr(job, name)) for name in names}


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="milliseconds") if instant else None
