"""What the API answers, as OpenAPI tells it.  ``producer.api.views`` makes the bodies."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import FailureClass
from jobs.model import OutputFormat
from jobs.states import JobState
from producer.api.problems import MEDIA_TYPE

ID: Final = "0199f2c4-7c1e-7a53-9d0e-2f6b8a41c7de"
SHA256: Final = "3b1f" * 16

LINKS: Final[dict[str, Any]] = {
    "self": f"/v1/edits/{ID}",
    "result": f"/v1/edits/{ID}/result",
    "cancel": f"/v1/edits/{ID}/cancel",
    "replay": f"/v1/edits/{ID}/replay",
}
SUCCEEDED: Final[dict[str, Any]] = {
    "id": ID,
    "state": "succeeded",
    "progress": 1.0,
    "instruction": "make the mug red",
    "pictures": [SHA256],
    "model": "qwen-image-edit-2509",
    "profile": "quality",
    "seed": 7,
    "steps": None,
    "true_cfg_scale": None,
    "negative": None,
    "size": "auto",
    "format": "png",
    "quality": None,
    "alpha": False,
    "tenant": "default",
    "batch": "spring",
    "priority": "normal",
    "metadata": {"sku": "MUG-1"},
    "idempotency_key": "spring-MUG-1",
    "attempt": 1,
    "failures": 0,
    "max_failures": 3,
    "cancel_requested": False,
    "result": {
        "key": f"default/outputs/{ID}/1.png",
        "sha256": SHA256,
        "bytes": 1_403_221,
        "media_type": "image/png",
        "width": 1024,
        "height": 1024,
        "suspect": None,
        "url": "https://s3.example/packshot/default/outputs/…?X-Amz-Signature=…",
        "url_expires_at": "2026-03-02T10:15:07.120+00:00",
    },
    "error": None,
    "replay_of": None,
    "created_at": "2026-03-02T09:14:20.031+00:00",
    "started_at": "2026-03-02T09:14:20.067+00:00",
    "finished_at": "2026-03-02T09:14:52.480+00:00",
    "not_before": None,
    "start_by": None,
    "expires_at": None,
    "result_deleted_at": None,
    "queue_position": None,
    "starts_in": None,
    "waits_for_worker": False,
    "links": LINKS,
}


class Suspect(BaseModel):
    code: str = Field(
        description="`nan`, `black`, `flat`, `unchanged` or `changed_all_over`; more may follow."
    )
    message: str


class StoredResult(BaseModel):
    key: str = Field(description="Where it lies in the bucket.")
    sha256: str
    bytes: int
    media_type: str
    width: int
    height: int
    suspect: Suspect | None = Field(description="Why a person should look at the picture.")


class LinkedResult(StoredResult):
    url: str | None = Field(
        description="Download it here, without credentials; made for this answer. Null once the"
        " picture was deleted."
    )
    url_expires_at: datetime | None


class EditError(BaseModel):
    class_: FailureClass = Field(alias="class")
    code: str
    message: str


class Links(BaseModel):
    self: str
    result: str = Field(description="Redirects to the picture once there is one.")
    cancel: str = Field(description="POST here to withdraw the edit.")
    replay: str = Field(description="POST here to run it again once it failed or was cancelled.")


class ListedEdit(BaseModel):
    """A job: the words are those of ``packshot status --json``."""

    id: UUID
    state: JobState
    progress: float = Field(ge=0, le=1, description="Share of the denoising steps done.")
    instruction: str
    pictures: list[str] = Field(description="sha256 of each: the source, then the references.")
    model: str
    profile: str
    seed: int
    steps: int | None
    true_cfg_scale: float | None
    negative: str | None
    size: str
    format: OutputFormat
    quality: int | None
    alpha: bool
    tenant: str
    batch: str | None
    priority: Literal["bulk", "normal", "interactive"]
    metadata: dict[str, str]
    idempotency_key: str
    attempt: int = Field(description="Attempts begun.")
    failures: int = Field(description="Attempts that ended badly.")
    max_failures: int
    cancel_requested: bool
    result: StoredResult | None
    error: EditError | None = Field(description="Why the job, or its latest attempt, failed.")
    replay_of: UUID | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    not_before: datetime | None
    start_by: datetime | None
    expires_at: datetime | None
    result_deleted_at: datetime | None = Field(description="The picture is gone since then.")
    links: Links


class EditView(ListedEdit):
    """A job read by itself: with its place in the queue and a link to its result."""

    model_config = ConfigDict(json_schema_extra={"examples": [SUCCEEDED]})

    queue_position: int | None = Field(description="Jobs before it; null unless queued.")
    starts_in: int | None = Field(
        description="Seconds until it starts, estimated from recent jobs; null if nothing is known."
    )
    waits_for_worker: bool = Field(description="Queued, and no worker lives to take it.")
    result: LinkedResult | None


class EditPage(BaseModel):
    edits: list[ListedEdit] = Field(description="Newest first.")
    next: str | None = Field(description="Where older ones are; null on the last page.")


class Health(BaseModel):
    status: Literal["live", "ready"]


class Problem(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["urn:packshot:problem:job_not_found"])
    title: str = Field(examples=["Job not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=[f"no job {ID}"], description="For people; wording may change.")
    code: str = Field(examples=["job_not_found"], description="For machines; never changes.")
    errors: list[dict[str, str]] | None = Field(
        default=None, description="Of `invalid_request`: each `field` and `message`."
    )


#: What may go wrong, by status, in OpenAPI's words.
REASONS: Final = {
    400: "The body is no well-formed form.",
    404: "`job_not_found`: there is no such job.",
    409: "`no_result`: it has no picture, or none yet; `not_replayable`: it did not fail.",
    413: "`too_large`: the request exceeds the limit.",
    415: "`unsupported_media_type`: the body is no multipart/form-data.",
    422: "`invalid_request`, `unusable_picture`, `idempotency_conflict` or `model_not_served`.",
    503: "`unavailable`: the ledger or the bucket does not answer; nothing was changed.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declares a route's problems; ``Api.openapi`` supplies the schema."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {one: {"description": REASONS[one], "content": content} for one in statuses}
