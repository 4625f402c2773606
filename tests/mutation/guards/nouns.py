"""A guard, and the edit that takes it away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """``text`` stands once in ``file``; the mutant has ``instead``."""

    file: str
    text: str
    instead: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """``test``: a node of pytest's that must turn red when the guard is gone.

    Several edits are one guard that stands in several places, each enough by itself.
    """

    name: str
    edits: Sequence[Edit]
    test: str

    @property
    def where(self) -> str:
        return ", ".join(dict.fromkeys(edit.file for edit in self.edits))


def guard(name: str, file: str, text: str, instead: str, test: str) -> Guard:
    return Guard(name=name, edits=(Edit(file=file, text=text, instead=instead),), test=test)
