"""What is known of a language: how it words an edit, and what it calls things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from worker.engine.tiny.outlines import Logo, Product
from worker.engine.tiny.states import EditKind


class Language(StrEnum):
    ENGLISH = "en"
    CHINESE = "zh"


Words = tuple[str, ...]

#: By kind of edit.  Fields: ``colour``, ``product``, ``ground`` (the background), ``mark``
#: (the logo), ``logo`` (its shape) and ``logo_colour``, which may be empty.
Templates = Mapping[EditKind, Words]


@dataclass(frozen=True, kw_only=True)
class Speech:
    """Lists to choose from; an entry that stands there twice is chosen twice as often."""

    #: what is trained with; the first of each is the plainest
    templates: Templates
    #: never trained with, nor with the verbs and turns that tell them from the others
    unseen_templates: Templates
    openings: Words  #: before any sentence
    urgings: Words  #: before one that begins with one of ``verbs``
    verbs: Words
    endings: Words
    grounds: Words
    marks: Words
    any_product: Words
    products: Mapping[Product, Words]
    logos: Mapping[Logo, Words]


def words(text: str) -> Words:
    return tuple(text.split("|"))


def lines(text: str) -> Words:
    return tuple(line.strip() for line in text.strip().splitlines())


def spoken(text: str) -> list[Language]:
    """Of "en,zh"; raises ``ValueError`` for a language that nobody speaks here."""
    return [Language(one) for one in text.split(",")]
