"""Dotted versions, compared whole: 525.60.12 is older than 525.60.13."""

from __future__ import annotations

import re

from envpack.node.errors import InvalidManifest

_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*")


def version(text: str) -> tuple[int, ...]:
    """``(525, 60, 13)``; zeros at the end say nothing.  Raises ``InvalidManifest``."""
    found = _VERSION.match(text)
    if not found:
        raise InvalidManifest(f"{text[:80]!r}: no version")
    numbers = [int(part) for part in found.group().split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
