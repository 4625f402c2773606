"""Product photographs to show an edit with: clear cases of what the small checkpoint can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from worker.engine.tiny.language import Language
from worker.engine.tiny.outlines import Product
from worker.engine.tiny.palette import PALETTE
from worker.engine.tiny.phrases import plain_instruction
from worker.engine.tiny.scenes import USUAL_SIDE, Scene
from worker.engine.tiny.states import Edit, EditKind

_KINDS: Final = (EditKind.BACKGROUND, EditKind.RECOLOUR, EditKind.REMOVE_LOGO)
_LANGUAGES: Final = (Language.ENGLISH, Language.CHINESE)
CLEARLY_APART: Final = 0.6  # distance of two colours; from black to white it is 1.73
LARGE: Final = 0.74  # scale of a product; the small checkpoint blurs small ones most


@dataclass(frozen=True, kw_only=True)
class Sample:
    name: str  #: safe as a file's name, without suffix
    picture: Image.Image
    instruction: str
    language: Language
    scene: Scene
    edit: Edit


def sample_products(count: int, seed: int, *, side: int = USUAL_SIDE) -> list[Sample]:
    """Samples of each product and kind of edit in turn, half of them in English.

    ``side`` is the pictures' side in pixels.  Equal arguments give equal samples.
    """
    rng = np.random.default_rng(seed)
    return [_sample(index, rng, side) for index in range(count)]


def _sample(index: int, rng: np.random.Generator, side: int) -> Sample:
    products = list(Product)
    product = products[(index + index // len(products)) % len(products)]
    kind, language = _KINDS[index % len(_KINDS)], _LANGUAGES[index % len(_LANGUAGES)]
    scene, edit = _clear_case(rng, product, kind)
    return Sample(
        name=f"{index + 1:02}-{product.value}-{kind.value}",
        picture=scene.picture(side, side),
        instruction=plain_instruction(scene, edit, language),
        language=language,
        scene=scene,
        edit=edit,
    )


def _clear_case(rng: np.random.Generator, product: Product, kind: EditKind) -> tuple[Scene, Edit]:
    """Draws until everything stands out from everything else; a few dozen draws."""
    while True:
        scene = Scene.random(rng, product)
        if kind not in scene.edits or scene.shape.pose.scale < LARGE:
            continue
        edit = scene.random_edit(rng, kind)
        if _is_clear(scene) and _is_clear(scene.after(edit)) and _is_visible(scene, edit):
            return scene, edit


def _is_clear(scene: Scene) -> bool:
    state = scene.state
    ground = state.background
    pairs = [(state.product, ground.first), (state.product, ground.second)]
    if state.logo_colour is not None:
        pairs.append((state.product, PALETTE[state.logo_colour].rgb))
    return all(np.linalg.norm(one - other) > CLEARLY_APART for one, other in pairs)


def _is_visible(scene: Scene, edit: Edit) -> bool:
    before, after = scene.state, scene.after(edit).state
    if edit.kind is EditKind.REMOVE_LOGO:
        return True
    ways = [before.product - after.product, before.background.first - after.background.first]
    return max(float(np.linalg.norm(way)) for way in ways) > CLEARLY_APART
