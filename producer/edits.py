"""What a caller of the library submits: one picture to make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from jobs.checks import check_instruction
from jobs.errors import InvalidRequest
from jobs.model import (
    MAX_FAILURES,
    MAX_PICTURES,
    EditRequest,
    NewJob,
    OutputFormat,
    Priority,
)
from producer.arguments import (
    Pictured,
    Span,
    check_kinds,
    check_texts,
    kinds_of,
    pictures,
    span,
)
from producer.inputs import Picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """One picture to make: the source first, then up to two references.

    Each picture is a path, a file's bytes, or a ``Picture``; a span is a ``timedelta`` or a
    number of seconds.  ``model`` and ``profile`` fall back to the client's; the other fields
    are those of ``jobs.model.EditRequest`` and ``NewJob``.
    """

    pictures: Sequence[Pictured]
    instruction: str
    model: str | None = None
    profile: str | None = None
    seed: int | None = None
    steps: int | None = None
    true_cfg_scale: float | None = None
    negative: str | None = None
    size: str = "auto"
    format: OutputFormat = OutputFormat.PNG
    quality: int | None = None
    alpha: bool = False
    idempotency_key: str | None = None
    salt: str = ""
    batch: str | None = None
    priority: Priority = Priority.NORMAL
    metadata: Mapping[str, str] = field(default_factory=dict)
    max_failures: int = MAX_FAILURES
    start_within: Span | None = None
    run_limit: Span | None = None
    keep_for: Span | None = None
    wait_for_model: bool = False


def _names(of: type) -> frozenset[str]:
    return frozenset(one.name for one in fields(of))


#: Fields of ``Edit`` that go into the request, and those that say how to treat the job.
REQUEST: Final = (_names(Edit) & _names(EditRequest)) - {"pictures"}
TREATMENT: Final = _names(Edit) & _names(NewJob)
KINDS: Final = kinds_of(Edit)
SPANS: Final = TREATMENT - KINDS.keys()


def check(edit: Edit) -> None:
    """Raises ``InvalidRequest`` for what no field of an edit can be."""
    if not isinstance(edit, Edit):
        raise InvalidRequest(f"edits: each an Edit, got {type(edit).__name__}")
    check_kinds(edit, KINDS)
    check_texts("metadata", edit.metadata)
    check_instruction(edit.instruction)


def pictures_of(edit: Edit) -> Sequence[Picture]:
    """Raises ``InvalidRequest``."""
    found = pictures(edit.pictures)
    if not 1 <= len(found) <= MAX_PICTURES:
        names = ", ".join(picture.name for picture in found)
        raise InvalidRequest(f"pictures: 1 to {MAX_PICTURES}, got {len(found)} ({names})")
    return found


def treatment_of(edit: Edit) -> dict[str, Any]:
    """By the fields of ``NewJob``.  Raises ``InvalidRequest``."""
    given = {name: getattr(edit, name) for name in TREATMENT}
    spans = {name: span(name, given[name]) for name in SPANS if given[name] is not None}
    return given | spans
