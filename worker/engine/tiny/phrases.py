"""Instructions for an edit, in English and Chinese."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from worker.engine.tiny.outlines import Logo, Product
from worker.engine.tiny.palette import PALETTE, contrasting
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import Edit, EditKind
from worker.engine.tiny.wordings import (
    CHINESE_ENDINGS,
    ENGLISH_ENDINGS,
    ENGLISH_OPENINGS,
    TEMPLATES,
    UNSEEN_TEMPLATES,
    Language,
    words,
)


def instruction(
    rng: np.random.Generator,
    scene: Scene,
    edit: Edit,
    language: Language | None = None,
    *,
    unseen: bool = False,
) -> str:
    """Any wording of an edit; of no language in particular, half of them are Chinese.

    ``unseen``: one that no training used.
    """
    if language is None:
        language = Language.CHINESE if rng.random() < 0.5 else Language.ENGLISH
    templates = (UNSEEN_TEMPLATES if unseen else TEMPLATES)[language][edit.kind]
    text = _filled(rng, scene, edit, language, _any_of(rng, templates))
    if language is Language.CHINESE:
        return text + _any_of(rng, CHINESE_ENDINGS)
    return _spoken(rng, text)


def plain_instruction(scene: Scene, edit: Edit, language: Language) -> str:
    """The plainest wording."""
    rng = np.random.default_rng(0)
    text = _PLAIN[language][edit.kind].format(
        colour=_first(PALETTE_WORDS[language][edit.colour]),
        product=_first(PRODUCT_WORDS[language][scene.product]),
        logo=_first(LOGO_WORDS[language][scene.shape.logo]),
        logo_colour=_logo_colour(rng, edit, language),
    )
    return text[0].upper() + text[1:]


def _first(words: Sequence[str]) -> str:
    return words[0]


def _filled(
    rng: np.random.Generator, scene: Scene, edit: Edit, language: Language, template: str
) -> str:
    products = PRODUCT_WORDS[language][scene.product]
    unclear = edit.kind is EditKind.ADD_LOGO and edit.colour == contrasting(
        scene.state.product_colour
    )
    unsaid = edit.kind is EditKind.REMOVE_LOGO or (unclear and rng.random() < 0.7)
    return template.format(
        colour=_any_of(rng, PALETTE_WORDS[language][edit.colour]),
        product=_any_of(rng, ANY_PRODUCT[language] if rng.random() < 0.2 else products),
        logo=_any_of(rng, LOGO_WORDS[language][scene.shape.logo]),
        logo_colour="" if unsaid else _logo_colour(rng, edit, language),
    )


def _logo_colour(rng: np.random.Generator, edit: Edit, language: Language) -> str:
    word = _any_of(rng, PALETTE_WORDS[language][edit.colour])
    if language is Language.ENGLISH:
        return f"{word} "
    return f"{word}的" if rng.random() < 0.5 else word


def _spoken(rng: np.random.Generator, text: str) -> str:
    text = _any_of(rng, ENGLISH_OPENINGS) + text + _any_of(rng, ENGLISH_ENDINGS)
    if rng.random() < 0.4:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.5:
        text = text.replace("a orange", "an orange")
    return text


def _any_of(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


__all__ = ["Language", "instruction", "plain_instruction"]

PALETTE_WORDS: Final = {
    Language.ENGLISH: {name: colour.english for name, colour in PALETTE.items()},
    Language.CHINESE: {name: colour.chinese for name, colour in PALETTE.items()},
}
ANY_PRODUCT: Final = {
    Language.ENGLISH: words("product|item|object"),
    Language.CHINESE: words("产品|商品|物品"),
}
PRODUCT_WORDS: Final = {
    Language.ENGLISH: {
        Product.TSHIRT: words("t-shirt|shirt|tee|T-shirt"),
        Product.MUG: words("mug|cup|coffee mug"),
        Product.BAG: words("bag|handbag|tote bag"),
        Product.SHOE: words("shoe|sneaker"),
        Product.BOTTLE: words("bottle|water bottle"),
        Product.BOX: words("box|package"),
    },
    Language.CHINESE: {
        Product.TSHIRT: words("T恤|衬衫|衣服"),
        Product.MUG: words("杯子|马克杯"),
        Product.BAG: words("包|手提包|包包"),
        Product.SHOE: words("鞋|鞋子|运动鞋"),
        Product.BOTTLE: words("瓶子|水瓶"),
        Product.BOX: words("盒子|包装盒"),
    },
}
LOGO_WORDS: Final = {
    Language.ENGLISH: {
        Logo.STAR: words("star"),
        Logo.CIRCLE: words("circle|round"),
        Logo.STRIPE: words("stripe|striped"),
        Logo.HEART: words("heart"),
    },
    Language.CHINESE: {
        Logo.STAR: words("星星|五角星"),
        Logo.CIRCLE: words("圆形|圆圈"),
        Logo.STRIPE: words("条纹"),
        Logo.HEART: words("爱心|心形"),
    },
}
_PLAIN: Final = {
    language: {kind: lines[0] for kind, lines in templates.items()}
    for language, templates in TEMPLATES.items()
}
