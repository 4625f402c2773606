"""One scene in twelve states, and the edits that lead from one to another.

Three backgrounds, two colours of the product, with and without logo: forty exact edits for
twelve pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from worker.engine.tiny.palette import PALETTE, contrasting, pick
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import Background, Edit, EditKind, State

WHITE_SHARE: Final = 0.25
PICTURES: Final = 12  #: of a family


@dataclass(frozen=True, kw_only=True)
class Pair:
    """``source`` and ``target`` are numbers of the family's states."""

    source: int
    target: int
    edit: Edit


@dataclass(frozen=True, kw_only=True)
class Family:
    scene: Scene
    #: by background, then product, then logo: number = 4 * background + 2 * product + logo
    states: tuple[State, ...]

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        scene = Scene.random(rng)
        first = scene.state
        ground = _ground(first)
        product = pick(rng, first.product_colour, ground)
        colours = (first.product_colour, product)
        second = pick(rng, *colours, ground)
        if rng.random() < WHITE_SHARE and "white" not in (*colours, ground):
            second = "white"
        third = pick(rng, *colours, ground, second)
        grounds = (first.background, Background.plain(second), Background.plain(third))
        products = ((first.product, colours[0]), (PALETTE[product].rgb, product))
        logo = _logo(rng, colours)
        states = tuple(
            replace(first, background=ground, product=rgb, product_colour=name, logo_colour=colour)
            for ground in grounds
            for rgb, name in products
            for colour in (None, logo)
        )
        return cls(scene=scene, states=states)

    def pairs(self) -> Iterator[Pair]:
        """Every two states of which the second is exactly an edit of the first."""
        for source, state in enumerate(self.states):
            for kind, apart in (
                (EditKind.BACKGROUND, (4, 8, -4, -8)),
                (EditKind.RECOLOUR, (2, -2)),
                (EditKind.ADD_LOGO, (1,)),
                (EditKind.REMOVE_LOGO, (-1,)),
            ):
                for step in apart:
                    edit = self._edit(state, kind, source + step)
                    if edit is not None:
                        yield Pair(source=source, target=source + step, edit=edit)

    def scene_of(self, number: int) -> Scene:
        return replace(self.scene, state=self.states[number])

    def _edit(self, state: State, kind: EditKind, target: int) -> Edit | None:
        if not 0 <= target < len(self.states):
            return None
        wanted = self.states[target]
        colour = {
            EditKind.BACKGROUND: wanted.background.colour,
            EditKind.RECOLOUR: wanted.product_colour,
            EditKind.ADD_LOGO: wanted.logo_colour,
            EditKind.REMOVE_LOGO: state.logo_colour,
        }[kind]
        if colour is None:
            return None
        edit = Edit(kind=kind, colour=colour)
        return edit if _same(state.after(edit), wanted) else None


def _ground(state: State) -> str:
    """The background's name, or the palette's nearest: a plain one shall differ from it."""
    if state.background.colour is not None:
        return state.background.colour
    first = state.background.first
    return min(PALETTE, key=lambda name: float(((PALETTE[name].rgb - first) ** 2).sum()))


def _logo(rng: np.random.Generator, products: tuple[str, str]) -> str:
    """A colour that both products can bear; often the one that is meant when none is said."""
    clear = contrasting(products[int(rng.integers(2))])
    if rng.random() < 0.6 and clear not in products:
        return clear
    return pick(rng, *products)


def _same(one: State, other: State) -> bool:
    names = one.product_colour == other.product_colour and one.logo_colour == other.logo_colour
    grounds = (one.background, other.background)
    plain = grounds[0].blend == grounds[1].blend and all(
        np.array_equal(getattr(grounds[0], name), getattr(grounds[1], name))
        for name in ("first", "second")
    )
    return names and plain and np.array_equal(one.product, other.product)
