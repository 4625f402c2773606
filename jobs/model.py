"""The nouns: a request, a job, a lease, a result.  An instance is always valid."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, Final, NewType, Self
from uuid import UUID

from jobs.checks import check_instruction, check_negative, check_text, checked_name
from jobs.errors import FailureClass, InvalidRequest
from jobs.states import JobState
from jobs.tokens import check_tokens

JobId = NewType("JobId", UUID)
ArtifactKey = NewType("ArtifactKey", str)

MAX_PICTURES: Final = 3  # what the model was trained on
MIN_STEPS: Final = 2  # the model's scheduler divides by zero at one
MAX_STEPS: Final = 200
MAX_SIDE: Final = 4_096  # pixels of an output
MAX_ASPECT: Final = 8  # longer side ÷ shorter side, of a picture that goes in or comes out
MAX_SEED: Final = 2**53 - 1  # what every reader of JSON keeps exactly (RFC 8259, section 6)
MAX_FAILURES: Final = 3  # attempts that may end badly before a job is a dead letter
MAX_SPAN: Final = timedelta(days=3_650)  # of a deadline or a limit
DEFAULT_MODEL: Final = "qwen-image-edit-2509"
DEFAULT_TENANT: Final = "default"
DERIVED_KEY: Final = "content:"  # begins the keys of jobs whose callers gave none

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


class Priority(IntEnum):
    """Who goes first inside a queue; the wire carries the name in lower case."""

    BULK = 0
    NORMAL = 5
    INTERACTIVE = 9


class OutputFormat(StrEnum):
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        return f"image/{self.value}"


def canonical_digest(value: object) -> str:
    """sha256 of a JSON value in one spelling: equal values have equal digests."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class EditRequest:
    """One picture to make: source pictures, an instruction and how to run it.

    ``pictures`` are sha256 digests of stored inputs: the source first, then up to two
    references.  ``None`` leaves a choice to the profile (steps, guidance) or to the
    content (seed).  Raises ``InvalidRequest`` when it could never be executed.
    """

    pictures: tuple[str, ...]
    instruction: str
    model: str = DEFAULT_MODEL
    profile: str = "quality"
    seed: int | None = None
    steps: int | None = None
    true_cfg_scale: float | None = None
    negative: str | None = None
    #: ``auto`` (the model's own area), ``source`` (the source's pixels) or ``WIDTHxHEIGHT``
    size: str = "auto"
    format: OutputFormat = OutputFormat.PNG
    #: of JPEG and WebP, 1 to 100; ``None`` is 95
    quality: int | None = None
    #: hand the source's transparency back, where it has any
    alpha: bool = False

    def __post_init__(self) -> None:
        if self.true_cfg_scale is not None:  # 4 and 4.0 are the same request
            object.__setattr__(self, "true_cfg_scale", float(self.true_cfg_scale))
        self._check_pictures()
        check_instruction(self.instruction)
        checked_name("model", self.model)
        checked_name("profile", self.profile)
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise InvalidRequest(f"seed: 0 to {MAX_SEED}, got {self.seed}")
        if self.steps is not None and not MIN_STEPS <= self.steps <= MAX_STEPS:
            raise InvalidRequest(f"steps: {MIN_STEPS} to {MAX_STEPS}, got {self.steps}")
        if self.true_cfg_scale is not None and not 1.0 <= self.true_cfg_scale <= 20.0:
            raise InvalidRequest(f"true_cfg_scale: 1 to 20, got {self.true_cfg_scale}")
        check_negative(self.negative)
        check_tokens(self.model, "instruction", self.instruction)
        check_tokens(self.model, "negative", self.negative or "")
        self.wanted_size()
        self._check_file()

    @classmethod
    def recorded(cls, **values: Any) -> Self:  # noqa: ANN401 - fields, by name
        """A request that the ledger took when it was valid: a limit may have changed since.

        What is not named has its default: the field was added later.
        """
        request = object.__new__(cls)
        for name, value in {**_DEFAULTS, **values}.items():
            object.__setattr__(request, name, value)
        return request

    def _check_file(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InvalidRequest(f"quality: 1 to 100, got {self.quality}")
        if self.quality is not None and self.format is OutputFormat.PNG:
            raise InvalidRequest(
                "quality: PNG loses nothing; ask for jpeg or webp, or leave it out"
            )
        if self.alpha and self.format is OutputFormat.JPEG:
            raise InvalidRequest("alpha: JPEG has no transparency; ask for png or webp")

    def _check_pictures(self) -> None:
        if not 1 <= len(self.pictures) <= MAX_PICTURES:
            raise InvalidRequest(f"pictures: 1 to {MAX_PICTURES}, got {len(self.pictures)}")
        for digest in self.pictures:
            if not _SHA256.fullmatch(digest):
                raise InvalidRequest(f"pictures: a sha256 in hexadecimal, got {digest[:80]!r}")

    def wanted_size(self) -> tuple[int, int] | None:
        """(width, height) in pixels where the caller named them, else ``None``."""
        if self.size in {"auto", "source"}:
            return None
        match = _SIZE.fullmatch(self.size)
        if match is None:
            raise InvalidRequest(f"size: auto, source or WIDTHxHEIGHT, got {self.size[:40]!r}")
        width, height = int(match[1]), int(match[2])
        if not (16 <= width <= MAX_SIDE and 16 <= height <= MAX_SIDE):
            raise InvalidRequest(f"size: sides of 16 to {MAX_SIDE} pixels, got {self.size}")
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise InvalidRequest(
                f"size: one side at most {MAX_ASPECT} times the other, got {self.size}"
            )
        return width, height

    def content(self, *, revision: str = "") -> str:
        """Digest of all that decides the picture; ``revision`` is the model's.

        Choices left at their default stay out, so that a field added later changes no digest
        of a request that does not use it.
        """
        chosen = {
            name: value for name, default in _CHOICES if (value := getattr(self, name)) != default
        }
        return canonical_digest({**chosen, "revision": revision})

    def decided(self, **values: Any) -> Self:  # noqa: ANN401 - fields, by name
        """A copy with values that need no check: stored pictures, a derived seed."""
        return self.recorded(**{name: getattr(self, name) for name, _ in _CHOICES} | values)

    def parameters(self) -> dict[str, Any]:
        """What has no column of its own in the ledger."""
        return {
            "steps": self.steps,
            "true_cfg_scale": self.true_cfg_scale,
            "negative": self.negative,
            "size": self.size,
            "format": self.format.value,
            "quality": self.quality,
            "alpha": self.alpha,
        }


_CHOICES: Final = tuple((one.name, one.default) for one in fields(EditRequest))
_DEFAULTS: Final = {name: default for name, default in _CHOICES if default is not MISSING}


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """What a caller hands in: a request and how it is to be treated."""

    request: EditRequest
    tenant: str = DEFAULT_TENANT
    #: ``None``: derived from the content, so that the same work is done once
    idempotency_key: str | None = None
    #: makes another job of the same content (``--again``); only without a key
    salt: str = ""
    batch: str | None = None
    priority: Priority = Priority.NORMAL
    metadata: Mapping[str, str] = field(default_factory=dict)
    max_failures: int = MAX_FAILURES
    #: give up if no attempt has started by then
    start_within: timedelta | None = None
    #: an attempt may run this long
    run_limit: timedelta | None = None
    #: keep the result this long
    keep_for: timedelta | None = None
    #: accept a model that no worker has offered yet
    wait_for_model: bool = False

    def __post_init__(self) -> None:
        checked_name("tenant", self.tenant)
        if self.idempotency_key is not None and not 1 <= len(self.idempotency_key) <= 255:
            raise InvalidRequest("idempotency key: 1 to 255 characters")
        if self.idempotency_key is not None and self.idempotency_key.startswith(DERIVED_KEY):
            raise InvalidRequest(f"idempotency key: {DERIVED_KEY!r} begins keys that are derived")
        if self.batch is not None and not 1 <= len(self.batch) <= 255:
            raise InvalidRequest("batch: 1 to 255 characters")
        check_text("idempotency key", self.idempotency_key)
        check_text("batch", self.batch)
        for name, value in self.metadata.items():
            check_text(f"metadata {name!a}", f"{name}{value}")
        if not 1 <= self.max_failures <= 100:
            raise InvalidRequest(f"max_failures: 1 to 100, got {self.max_failures}")
        if self.metadata and len(json.dumps(dict(self.metadata))) > 8_192:
            raise InvalidRequest("metadata: at most 8 KiB as JSON")
        for what in ("start_within", "run_limit", "keep_for"):
            span = getattr(self, what)
            if span is not None and not timedelta(0) < span <= MAX_SPAN:
                raise InvalidRequest(f"{what}: more than nothing, at most {MAX_SPAN}, got {span}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspicion:
    """Why a person should look at a picture, though its job succeeded."""

    code: str  #: for machines; a later worker may know more of them
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The announced picture of a job: where it lies and what it is."""

    key: ArtifactKey
    sha256: str
    bytes: int
    media_type: str
    width: int
    height: int
    suspect: Suspicion | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Also of an older release, which knew fewer fields, or of a newer one."""
        known: dict[str, Any] = {
            one.name: value[one.name] for one in fields(cls) if one.name in value
        }
        if known.get("suspect"):
            known["suspect"] = Suspicion(**known["suspect"])
        return cls(**known)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why an attempt or a job ended badly."""

    failure_class: FailureClass
    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A row of the ledger, as it was when it was read."""

    id: JobId
    tenant: str
    state: JobState
    request: EditRequest
    queue: str
    priority: Priority
    idempotency_key: str
    attempt: int = 0
    failures: int = 0
    max_failures: int = MAX_FAILURES
    batch: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    not_before: datetime | None = None
    start_by: datetime | None = None
    run_limit: timedelta | None = None
    expires_at: datetime | None = None
    result_deleted_at: datetime | None = None  #: its picture is announced no more
    dispatched_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    holder: str | None = None
    lease_expires_at: datetime | None = None
    steps_done: int = 0
    steps_total: int = 0
    result: Result | None = None
    failure: Failure | None = None
    release: str | None = None
    replay_of: JobId | None = None

    @property
    def progress(self) -> float:
        """Share of the denoising steps done, 0 to 1; 1 once succeeded."""
        if self.state is JobState.SUCCEEDED:
            return 1.0
        return self.steps_done / self.steps_total if self.steps_total else 0.0

    @property
    def facts(self) -> dict[str, object]:
        """Of a log line about an attempt that another than its worker ended; why names that."""
        why = {"why": self.failure.message} if self.failure else {}
        return {"job_id": str(self.id), "attempt": self.attempt, "state": self.state, **why}


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to work on one job, held by one attempt.

    ``attempt`` is the fencing token: it grows with every claim of the job, every write
    carries it, and the ledger refuses a write that carries an old one.
    """

    job: Job
    attempt: int
    holder: str

    @property
    def facts(self) -> dict[str, object]:
        """Of each log line about this attempt."""
        return {"job_id": str(self.job.id), "attempt": self.attempt}


class Order(StrEnum):
    """What the ledger answers to a renewal."""

    CONTINUE = "continue"
    CANCEL = "cancel"  #: the caller withdrew the job
    STOP = "stop"  #: the attempt ran past its limit
    LOST = "lost"  #: the lease is another's


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """What a worker reports of one lease when it renews."""

    job_id: JobId
    attempt: int
    steps_done: int = 0
    steps_total: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A model as its workers loaded it.  One group of profiles is one queue."""

    name: str
    revision: str
    profile_group: str
    profiles: tuple[str, ...]

    @property
    def queue(self) -> str:
        return queue_name(self.name, self.profile_group)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerInfo:
    """One process on one card, as the ledger knows it."""

    id: UUID
    holder: str  #: host/card/pid
    card: str
    model: ServedModel
    release: str | None = None


def queue_name(model: str, profile_group: str) -> str:
    return f"edit.{model}.{profile_group}"


def input_key(tenant: str, sha256: str) -> ArtifactKey:
    """Where a source picture lies: content-addressed, so it is uploaded once."""
    return ArtifactKey(f"{tenant}/inputs/{sha256}")


def output_key(lease: Lease) -> ArtifactKey:
    """Where this attempt, and no other, may write."""
    job = lease.job
    return ArtifactKey(f"{job.tenant}/outputs/{job.id}/{lease.attempt}.{job.request.format.value}")
