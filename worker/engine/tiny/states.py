"""What edits change: background, colour of the product, logo.  And the edits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

import numpy as np

from worker.engine.tiny.palette import PALETTE, Rgb, contrasting, pick


class EditKind(StrEnum):
    BACKGROUND = "background"
    RECOLOUR = "recolour"
    REMOVE_LOGO = "remove-logo"
    ADD_LOGO = "add-logo"


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """One change.  ``colour`` is the one that comes, or the logo's that goes."""

    kind: EditKind
    colour: str


class Blend(StrEnum):
    """How a background goes from its first colour to its second."""

    PLAIN = "plain"
    VERTICAL = "vertical"
    RADIAL = "radial"
    FLOOR = "floor"


@dataclass(frozen=True, kw_only=True)
class Background:
    blend: Blend
    first: Rgb
    second: Rgb
    #: share of the height at which the floor begins
    horizon: float = 0.5
    #: its name, where it is exactly one colour of the palette
    colour: str | None = None

    @classmethod
    def plain(cls, colour: str) -> Self:
        rgb = PALETTE[colour].rgb
        return cls(blend=Blend.PLAIN, first=rgb, second=rgb, colour=colour)

    @classmethod
    def random(cls, rng: np.random.Generator, colour: str) -> Self:
        """Plain, or a near colour that has no name, or a blend of two."""
        kind = str(rng.choice(["plain", "plain", "vertical", "radial", "floor", "near"]))
        horizon = float(rng.uniform(0.45, 0.8))
        rgb = PALETTE[colour].rgb
        if kind == "plain":
            return replace(cls.plain(colour), horizon=horizon)
        if kind == "near":
            near = _jittered(rng, rgb, 0.12)
            return cls(blend=Blend.PLAIN, first=near, second=near, horizon=horizon)
        darker = _jittered(rng, rgb * np.float32(rng.uniform(0.55, 0.95)), 0.06)
        return cls(blend=Blend(kind), first=rgb, second=darker, horizon=horizon)


@dataclass(frozen=True, kw_only=True)
class State:
    background: Background
    product: Rgb
    #: the palette's colour that the product has, or is closest to
    product_colour: str
    #: ``None``: the product bears no logo
    logo_colour: str | None

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        product = pick(rng)
        background = pick(rng, product)
        if rng.random() < 0.15 and product != "white":
            background = "white"  # a shop's usual one
        rgb = PALETTE[product].rgb
        return cls(
            background=Background.random(rng, background),
            product=rgb if rng.random() < 0.6 else _jittered(rng, rgb, 0.06),
            product_colour=product,
            logo_colour=random_logo_colour(rng, product, 0.6) if rng.random() < 0.5 else None,
        )

    def after(self, edit: Edit) -> State:
        match edit.kind:
            case EditKind.BACKGROUND:
                return replace(self, background=Background.plain(edit.colour))
            case EditKind.RECOLOUR:
                return replace(self, product=PALETTE[edit.colour].rgb, product_colour=edit.colour)
            case EditKind.REMOVE_LOGO:
                return replace(self, logo_colour=None)
            case EditKind.ADD_LOGO:
                return replace(self, logo_colour=edit.colour)


def _jittered(rng: np.random.Generator, rgb: Rgb, spread: float) -> Rgb:
    return np.clip(rgb + rng.normal(0, spread, 3), 0, 1).astype(np.float32)


def random_logo_colour(rng: np.random.Generator, product: str, clear_share: float) -> str:
    return contrasting(product) if rng.random() < clear_share else pick(rng, product)
