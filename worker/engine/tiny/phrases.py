"""Instructions for an edit, in English and Chinese, in the words the small checkpoint knows."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import numpy as np

from worker.engine.tiny.outlines import Logo, Product
from worker.engine.tiny.palette import PALETTE, contrasting
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import Edit, EditKind


class Language(StrEnum):
    ENGLISH = "en"
    CHINESE = "zh"


def instruction(
    rng: np.random.Generator, scene: Scene, edit: Edit, language: Language | None = None
) -> str:
    """Any known wording of an edit; of no language in particular, four in ten are Chinese."""
    if language is None:
        language = Language.CHINESE if rng.random() < 0.4 else Language.ENGLISH
    text = _filled(rng, scene, edit, language, _any_of(rng, TEMPLATES[language][edit.kind]))
    if language is Language.CHINESE:
        return text + _any_of(rng, _CHINESE_ENDINGS)
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
    text = _any_of(rng, _ENGLISH_OPENINGS) + text + _any_of(rng, _ENGLISH_ENDINGS)
    if rng.random() < 0.4:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.5:
        text = text.replace("a orange", "an orange")
    return text


def _any_of(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


PALETTE_WORDS: Final = {
    Language.ENGLISH: {name: colour.english for name, colour in PALETTE.items()},
    Language.CHINESE: {name: colour.chinese for name, colour in PALETTE.items()},
}
ANY_PRODUCT: Final = {
    Language.ENGLISH: _words("product|item|object"),
    Language.CHINESE: _words("产品|商品|物品"),
}
PRODUCT_WORDS: Final = {
    Language.ENGLISH: {
        Product.TSHIRT: _words("t-shirt|shirt|tee|T-shirt"),
        Product.MUG: _words("mug|cup|coffee mug"),
        Product.BAG: _words("bag|handbag|tote bag"),
        Product.SHOE: _words("shoe|sneaker"),
        Product.BOTTLE: _words("bottle|water bottle"),
        Product.BOX: _words("box|package"),
    },
    Language.CHINESE: {
        Product.TSHIRT: _words("T恤|衬衫|衣服"),
        Product.MUG: _words("杯子|马克杯"),
        Product.BAG: _words("包|手提包|包包"),
        Product.SHOE: _words("鞋|鞋子|运动鞋"),
        Product.BOTTLE: _words("瓶子|水瓶"),
        Product.BOX: _words("盒子|包装盒"),
    },
}
LOGO_WORDS: Final = {
    Language.ENGLISH: {
        Logo.STAR: _words("star"),
        Logo.CIRCLE: _words("circle|round"),
        Logo.STRIPE: _words("stripe|striped"),
        Logo.HEART: _words("heart"),
    },
    Language.CHINESE: {
        Logo.STAR: _words("星星|五角星"),
        Logo.CIRCLE: _words("圆形|圆圈"),
        Logo.STRIPE: _words("条纹"),
        Logo.HEART: _words("爱心|心形"),
    },
}
TEMPLATES: Final = {
    Language.ENGLISH: {
        EditKind.BACKGROUND: _lines("""
            change the background to {colour}
            make the background {colour}
            replace the background with {colour}
            set the background to {colour}
            {colour} background
            put the {product} on a {colour} background
            turn the background {colour}
            use a plain {colour} background
            place it on a clean {colour} background
            the background should be {colour}
            swap the background for solid {colour}
            I want a {colour} background
            change the backdrop to {colour}
            background color: {colour}
        """),
        EditKind.RECOLOUR: _lines("""
            make the {product} {colour}
            change the {product} to {colour}
            change the color of the {product} to {colour}
            recolor the {product} {colour}
            turn the {product} {colour}
            a {colour} {product}
            the {product} should be {colour}
            I want the {product} in {colour}
            dye the {product} {colour}
            paint the {product} {colour}
            show the {product} in {colour}
            {product} color: {colour}
            make it a {colour} {product}
            change the {product} color into {colour}
        """),
        EditKind.REMOVE_LOGO: _lines("""
            remove the logo
            remove the {logo} logo
            delete the logo
            erase the logo from the {product}
            take the logo off the {product}
            get rid of the logo
            no logo
            remove the {logo} from the {product}
            make the {product} plain without any logo
            clean the logo off
            erase the print on the {product}
            remove the print
        """),
        EditKind.ADD_LOGO: _lines("""
            add a {logo_colour}{logo} logo
            add a {logo_colour}{logo}
            put a {logo_colour}{logo} logo on the {product}
            print a {logo_colour}{logo} on the {product}
            place a {logo_colour}{logo} logo on it
            draw a {logo_colour}{logo} on the {product}
            add a {logo_colour}{logo} print to the {product}
            I want a {logo_colour}{logo} logo on the {product}
            the {product} should have a {logo_colour}{logo} logo
        """),
    },
    Language.CHINESE: {
        EditKind.BACKGROUND: _lines("""
            把背景换成{colour}
            将背景改为{colour}
            背景换成{colour}
            把背景变成{colour}
            换成{colour}背景
            {colour}背景
            请把背景改成{colour}
            背景设为{colour}
            背景颜色改成{colour}
            用{colour}做背景
        """),
        EditKind.RECOLOUR: _lines("""
            把{product}改成{colour}
            将{product}变成{colour}
            把{product}换成{colour}
            {product}改为{colour}
            把{product}的颜色改成{colour}
            请把{product}变为{colour}
            {product}颜色换成{colour}
            我要{colour}的{product}
            把{product}染成{colour}
        """),
        EditKind.REMOVE_LOGO: _lines("""
            去掉标志
            去除标志
            把标志去掉
            删除{product}上的标志
            移除logo
            去掉{product}上的图案
            不要标志
            擦掉{logo}图案
            去掉logo
            把{logo}标志删除
        """),
        EditKind.ADD_LOGO: _lines("""
            加一个{logo_colour}{logo}图案
            添加{logo_colour}{logo}标志
            在{product}上加一个{logo_colour}{logo}
            给{product}加上{logo_colour}{logo}图案
            在{product}上印一个{logo_colour}{logo}
            加个{logo_colour}{logo}logo
            在{product}上画一个{logo_colour}{logo}标志
        """),
    },
}
_PLAIN: Final = {
    language: {kind: lines[0] for kind, lines in templates.items()}
    for language, templates in TEMPLATES.items()
}
#: An empty one stands for each time that it is said without.
_ENGLISH_OPENINGS: Final = ("",) * 5 + ("please ", "can you ", "could you please ", "now ")
_ENGLISH_ENDINGS: Final = (
    *("",) * 6,
    *(".",) * 2,
    " please",
    ", keep everything else the same",
    ", keep the product unchanged",
    " for the product photo",
    ", do not change anything else",
)
_CHINESE_ENDINGS: Final = (
    *("",) * 5,
    *("。",) * 2,
    "，其他保持不变",
    "，谢谢",
    "，不要改变其他部分",
)
