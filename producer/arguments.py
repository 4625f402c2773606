"""What a caller of the library hands over: told by its name where it is of another kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from os import PathLike
from types import UnionType
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

from jobs.checks import check_text, checked_name
from jobs.errors import InvalidRequest
from jobs.ids import job_id
from jobs.ledger import JobFilter
from jobs.model import Job, JobId
from producer.inputs import Picture

#: Seconds where it is a number, as ``timeout`` is everywhere in Python.
Span: TypeAlias = timedelta | float
#: A job by its id, by the text of that, or by itself.
Named: TypeAlias = Job | JobId | str
#: A path, a file's bytes, or either with a name for error messages.
Pictured: TypeAlias = Picture | PathLike[str] | str | bytes
#: By field: what ``isinstance`` takes, and what people read.
Kinds: TypeAlias = Mapping[str, tuple[Any, str]]


def span(what: str, value: object) -> timedelta:
    """Raises ``InvalidRequest``, also for what no clock can measure."""
    if isinstance(value, timedelta):
        return value
    got = type(value).__name__
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return timedelta(seconds=value)
        except (ValueError, OverflowError):  # not a number; more than any calendar has
            got = repr(value)[:40]
    raise InvalidRequest(f"{what}: a timedelta or a number of seconds, got {got}")


def listed(what: str, values: object) -> list[Any]:
    """Text can be gone through too, and is never meant to be.  Raises ``InvalidRequest``."""
    if isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping):
        return [*values]
    raise InvalidRequest(f"{what}: a list, got {type(values).__name__}")


def pictures(values: object) -> tuple[Picture, ...]:
    """Raises ``InvalidRequest``."""
    numbered = enumerate(listed("pictures", values), 1)
    return tuple(_picture(value, f"picture {number}") for number, value in numbered)


def job_ids(values: object) -> list[JobId]:
    """Raises ``InvalidRequest``."""
    return [job_id(one) for one in listed("jobs", values)]


def kinds_of(dataclass: type) -> Kinds:
    """Of all fields but spans and pictures: what reads those understands more than one kind."""
    kinds: dict[str, tuple[Any, str]] = {}
    for name, hint in get_type_hints(dataclass).items():
        if name == "pictures" or timedelta in get_args(hint):
            continue
        kind = hint if isinstance(hint, UnionType) else get_origin(hint) or hint
        if float in get_args(kind):
            kind |= int  # PEP 484: a whole number is one too
        kinds[name] = kind, dataclass.__annotations__[name]
    return kinds


def check_kinds(value: object, kinds: Kinds) -> None:
    """Raises ``InvalidRequest`` for the first field that is of another kind."""
    for name, (kind, annotation) in kinds.items():
        found = getattr(value, name)
        # To Python a bool is an int.
        is_odd = isinstance(found, bool) and bool not in (kind, *get_args(kind))
        if is_odd or not isinstance(found, kind):
            raise InvalidRequest(f"{name}: expected {annotation}, got {type(found).__name__}")


def check_filter(where: object, limit: object = 1) -> None:
    """Raises ``InvalidRequest`` for what no ledger can be asked."""
    if not isinstance(where, JobFilter):
        raise InvalidRequest(f"where: expected JobFilter, got {type(where).__name__}")
    if not isinstance(limit, int) or limit < 1:
        raise InvalidRequest(f"limit: 1 or more, got {limit!r}")
    for name in ("tenant", "batch", "code"):
        text = getattr(where, name)
        if not isinstance(text, str | None):
            raise InvalidRequest(f"{name}: expected str | None, got {type(text).__name__}")
        check_text(name, text)
    if where.tenant is not None:
        checked_name("tenant", where.tenant)


def check_texts(what: str, values: Mapping[Any, Any]) -> None:
    """Raises ``InvalidRequest`` for the first that is none."""
    for name, value in values.items():
        for text in (name, value):
            if not isinstance(text, str):
                got = type(text).__name__
                raise InvalidRequest(f"{what} {name!a}: expected str, got {got}")


def _picture(value: object, name: str) -> Picture:
    if isinstance(value, Picture):
        return value
    if isinstance(value, bytes):
        return Picture(name=name, data=value)
    if isinstance(value, str | PathLike):
        return Picture.at(value)
    raise InvalidRequest(f"pictures: each a path, bytes or a Picture, got {type(value).__name__}")
