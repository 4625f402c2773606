"""Instructions for an edit, in English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from worker.engine.tiny.chinese import CHINESE
from worker.engine.tiny.english import ENGLISH
from worker.engine.tiny.language import Language, Speech
from worker.engine.tiny.palette import PALETTE, contrasting
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import Edit, EditKind

SPEECHES: Final[dict[Language, Speech]] = {
    Language.ENGLISH: ENGLISH,
    Language.CHINESE: CHINESE,
}
_COLOURS: Final = {
    Language.ENGLISH: {name: colour.english for name, colour in PALETTE.items()},
    Language.CHINESE: {name: colour.chinese for name, colour in PALETTE.items()},
}
_ANY_PRODUCT_SHARE: Final = 0.2
#: A word or a character of a template, outside its fields.
_UNIT: Final = re.compile(r"(?<![{\w])[A-Za-z]+(?![\w}])|[一-龥]")


def instruction(  # noqa: PLR0913 - what a wording depends on
    rng: np.random.Generator,
    scene: Scene,
    edit: Edit,
    language: Language,
    *,
    unseen: bool = False,
    slips: float = 0,
) -> str:
    """Any wording of an edit.

    ``unseen``: one that no training used.  ``slips``: the share in which one word or
    character of the template is lost or something at random.
    """
    speech = SPEECHES[language]
    template = _any_of(rng, (speech.unseen_templates if unseen else speech.templates)[edit.kind])
    if rng.random() < slips:
        template = _slipped(rng, template)
    return _spoken(rng, _filled(rng, scene, edit, language, template), language)


def plain_instruction(scene: Scene, edit: Edit, language: Language) -> str:
    """The plainest wording."""
    speech = SPEECHES[language]
    text = speech.templates[edit.kind][0].format(
        colour=_COLOURS[language][edit.colour][0],
        product=speech.products[scene.product][0],
        logo=speech.logos[scene.shape.logo][0],
        logo_colour=_logo_colour(np.random.default_rng(0), edit, language),
    )
    return text[0].upper() + text[1:]


def _filled(
    rng: np.random.Generator, scene: Scene, edit: Edit, language: Language, template: str
) -> str:
    speech = SPEECHES[language]
    unclear = edit.kind is EditKind.ADD_LOGO and edit.colour == contrasting(
        scene.state.product_colour
    )
    unsaid = edit.kind is EditKind.REMOVE_LOGO or (unclear and rng.random() < 0.7)
    anything = rng.random() < _ANY_PRODUCT_SHARE
    return template.format(
        colour=_any_of(rng, _COLOURS[language][edit.colour]),
        product=_any_of(rng, speech.any_product if anything else speech.products[scene.product]),
        ground=_any_of(rng, speech.grounds),
        mark=_any_of(rng, speech.marks),
        logo=_any_of(rng, speech.logos[scene.shape.logo]),
        logo_colour="" if unsaid else _logo_colour(rng, edit, language),
    )


def _logo_colour(rng: np.random.Generator, edit: Edit, language: Language) -> str:
    word = _any_of(rng, _COLOURS[language][edit.colour])
    if language is Language.ENGLISH:
        return f"{word} "
    return f"{word}的" if rng.random() < 0.5 else word


def _slipped(rng: np.random.Generator, template: str) -> str:
    units = list(_UNIT.finditer(template))
    if len(units) < 2:
        return template
    unit = units[int(rng.integers(len(units)))]
    if rng.random() < 0.5:
        other = ""
    elif unit[0].isascii():
        letters = rng.integers(ord("a"), ord("z") + 1, size=int(rng.integers(3, 9)))
        other = "".join(map(chr, letters))
    else:
        other = chr(int(rng.integers(ord("一"), ord("龥") + 1)))
    return template[: unit.start()] + other + template[unit.end() :]


def _spoken(rng: np.random.Generator, text: str, language: Language) -> str:
    """With an opening, an urging and an ending, each of which may be empty."""
    speech = SPEECHES[language]
    if text.startswith(speech.verbs):
        text = _any_of(rng, speech.urgings) + text
    text = _any_of(rng, speech.openings) + text + _any_of(rng, speech.endings)
    if language is Language.ENGLISH:
        text = re.sub(r" +", " ", re.sub(r"\ba (?=[aeio])", "an ", text)).strip()
        if rng.random() < 0.4:
            text = text[0].upper() + text[1:]
    return text


def _any_of(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]
