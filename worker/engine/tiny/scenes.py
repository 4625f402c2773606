"""A product photograph that can be drawn again with one thing changed.

A scene has a shape (product, pose, light, place of the logo), which edits leave alone, and
a state (background, product's colour, logo's colour), which they change.  So the exact
target of an edit is the picture of the changed scene.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from PIL import Image

from worker.engine.tiny.drawing import Light, Masks, Pose, Shape, draw_masks, paint
from worker.engine.tiny.outlines import Logo, Product, draw_outline
from worker.engine.tiny.palette import pick
from worker.engine.tiny.states import Edit, EditKind, State, random_logo_colour

USUAL_SIDE: Final = 128  # pixels; what the small checkpoint was trained on


@dataclass(frozen=True, kw_only=True)
class Scene:
    product: Product
    shape: Shape
    state: State

    @classmethod
    def random(cls, rng: np.random.Generator, product: Product | None = None) -> Self:
        """Any scene that the small checkpoint may have met, of a product if one is named."""
        chosen = product or list(Product)[int(rng.integers(len(Product)))]
        return cls(
            product=chosen,
            shape=Shape(
                outline=draw_outline(chosen, rng),
                logo=list(Logo)[int(rng.integers(len(Logo)))],
                pose=Pose.random(rng),
                light=Light.random(rng),
            ),
            state=State.random(rng),
        )

    @property
    def edits(self) -> tuple[EditKind, ...]:
        """The kinds of edit that change this scene."""
        has_logo = self.state.logo_colour is not None
        logo = EditKind.REMOVE_LOGO if has_logo else EditKind.ADD_LOGO
        return (EditKind.BACKGROUND, EditKind.RECOLOUR, logo)

    def random_edit(self, rng: np.random.Generator, kind: EditKind) -> Edit:
        """An edit of one of the kinds in ``edits``, visible and worth asking for."""
        state, ground = self.state, self.state.background.colour
        match kind:
            case EditKind.BACKGROUND:
                taken = (ground, state.product_colour)
                white = rng.random() < 0.18 and "white" not in taken  # a shop's usual one
                return Edit(kind=kind, colour="white" if white else pick(rng, *taken))
            case EditKind.RECOLOUR:
                taken = (ground, state.product_colour)
                return Edit(kind=kind, colour=pick(rng, *taken, state.logo_colour))
            case EditKind.REMOVE_LOGO:
                if state.logo_colour is None:
                    raise ValueError("there is no logo to remove")
                return Edit(kind=kind, colour=state.logo_colour)
            case EditKind.ADD_LOGO:
                colour = random_logo_colour(rng, state.product_colour, 0.5)
                return Edit(kind=kind, colour=colour)

    def after(self, edit: Edit) -> Scene:
        return replace(self, state=self.state.after(edit))

    def masks(self, width: int = USUAL_SIDE, height: int = USUAL_SIDE) -> Masks:
        return draw_masks(self.shape, width, height)

    def picture(self, width: int = USUAL_SIDE, height: int = USUAL_SIDE) -> Image.Image:
        """Drawn in RGB; the product fills the shorter side."""
        return paint(self.masks(width, height), self.state)
