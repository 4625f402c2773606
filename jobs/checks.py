"""What text may be: checks that say which field, what is wrong with it and the limit."""

from __future__ import annotations

import re
from typing import Final

from jobs.errors import InvalidRequest

MAX_INSTRUCTION_CHARS: Final = 2_000  # the text encoder's window is 1,024 tokens

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MARK = re.compile(r"<\|[a-z_]{1,40}\|>")  # <|image_pad|> and its kin
#: What Postgres cannot store: it must not reach a transaction that others share.
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def checked_name(what: str, value: str) -> str:
    """A tenant's, model's or profile's name: safe in keys, queues and URLs."""
    if not _NAME.fullmatch(value):
        raise InvalidRequest(
            f"{what}: letters, digits, '.', '_' and '-', at most 100, got {value[:120]!r}"
        )
    return value


def check_text(what: str, text: str | None) -> None:
    if text and _UNSTORABLE.search(text):
        raise InvalidRequest(f"{what}: contains a NUL character or half a surrogate pair")


def check_instruction(instruction: str) -> None:
    """1 to 2,000 characters that the model can read as words."""
    if not instruction.strip():
        raise InvalidRequest("instruction: empty; say what to change")
    _check_words("instruction", instruction)


def check_negative(negative: str | None) -> None:
    """What the picture should not show; may be empty, or a single space."""
    if negative is not None:
        _check_words("negative", negative)


def _check_words(what: str, text: str) -> None:
    if len(text) > MAX_INSTRUCTION_CHARS:
        raise InvalidRequest(f"{what}: at most {MAX_INSTRUCTION_CHARS} characters, got {len(text)}")
    check_text(what, text)
    mark = _MARK.search(text)
    if mark is not None:
        raise InvalidRequest(f"{what}: {mark[0]} is a mark of the model's own language")
