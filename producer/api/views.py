"""A job as the API tells it: ``job_json``, and where to go from here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from fastapi.responses import JSONResponse, Response

from jobs.ledger import JobFilter
from jobs.model import Job, canonical_digest
from jobs.states import JobState
from producer.client import LINK_FOR, Client
from producer.views import job_json, starts_in

#: Seconds until it is worth asking again.
RETRY_AFTER: Final = {JobState.QUEUED: "2", JobState.RUNNING: "1"}


def path(job: Job) -> str:
    return f"/v1/edits/{job.id}"


def listed_json(job: Job) -> dict[str, Any]:
    here = path(job)
    acts = {name: f"{here}/{name}" for name in ("result", "cancel", "replay")}
    links = {"self": here, **acts}
    return {**job_json(job), "links": links}


def edit_json(client: Client, job: Job, *, now: datetime) -> dict[str, Any]:
    """With the place in the queue, and a link to the result that is good for a while."""
    body = listed_json(job)
    queued = job.state is JobState.QUEUED
    place = client.place(job.id) if queued else None
    body["queue_position"] = place.before if place else None
    body["starts_in"] = starts_in(place)
    body["waits_for_worker"] = bool(queued and client.unserved([job]))
    if job.result is not None and job.result_deleted_at is not None:
        body["result"] |= {"url": None, "url_expires_at": None}
    elif job.result is not None:
        expires = (now + LINK_FOR).isoformat(timespec="milliseconds")
        body["result"] |= {"url": client.link(job), "url_expires_at": expires}
    return body


def page_json(jobs: list[Job], where: JobFilter, *, limit: int) -> dict[str, Any]:
    """``jobs``: one more than ``limit`` where there are older ones."""
    shown = jobs[:limit]
    older = None
    if len(jobs) > limit:
        suspect = "true" if where.suspect else None
        asked = {"state": where.state, "batch": where.batch, "suspect": suspect}
        query = {name: value for name, value in asked.items() if value is not None}
        older = f"/v1/edits?{urlencode({**query, 'limit': limit, 'before': shown[-1].id})}"
    return {"edits": [listed_json(job) for job in shown], "next": older}


def answer(
    client: Client,
    job: Job,
    status: int = 200,
    *,
    unless: str = "",
    now: datetime | None = None,
) -> Response:
    """The job as it is; 304 where the caller has it already (``unless``: its tags)."""
    now = now or datetime.now(UTC)
    body = edit_json(client, job, now=now)
    tag = _tag(body, now)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if job.state in RETRY_AFTER:
        headers["Retry-After"] = RETRY_AFTER[job.state]
    if _names(unless, tag):
        return Response(status_code=304, headers=headers)
    return JSONResponse(body, status, headers)


def _tag(body: Mapping[str, Any], now: datetime) -> str:
    """Weak: each answer signs its link anew.  It changes twice in the life of a link, so that
    the one a caller keeps through a 304 is good for another half of it."""
    result = body["result"]
    half_life = int(now.timestamp() / (LINK_FOR.total_seconds() / 2)) if result else None
    stored = result and {name: result[name] for name in ("key", "sha256")}
    return f'W/"{canonical_digest([{**body, "result": stored}, half_life])[:16]}"'


def _names(tags: str, tag: str) -> bool:
    """Whether ``If-None-Match`` names the tag; strong and weak compare equal."""
    wanted = {one.strip().removeprefix("W/") for one in tags.split(",")}
    return bool(wanted & {"*", tag.removeprefix("W/")})
