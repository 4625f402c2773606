"""Whether a picture is the edit that was asked for, against the exact target.

A background or a product's colour is right when the edited region's mean colour is within
0.08 of the target's in each channel and closest to the same colour of the palette.  A logo
is right when, where the pixels should change, the error is under 35 % of what leaving the
source alone would give.  And in each case the pixels that should stay are off by less than
0.05 in the mean.  Channels go from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.engine.tiny.drawing import Masks, product_rgb
from worker.engine.tiny.palette import PALETTE, nearest
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import Edit, EditKind

COLOUR_TOLERANCE: Final = 0.08
LOGO_TOLERANCE: Final = 0.35
STAY_TOLERANCE: Final = 0.05
SAME: Final = 0.02  # source and target differ by less: the pixel should stay

#: shape (height, width, 3), float32
Pixels = NDArray[np.float32]
#: shape (height, width)
Region = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    edit_right: bool
    rest_stays: bool
    #: peak signal-to-noise ratio to the exact target
    psnr_db: float

    @property
    def right(self) -> bool:
        return self.edit_right and self.rest_stays


def judge(picture: Image.Image, scene: Scene, edit: Edit) -> Verdict:
    """Judge an edit of the scene's picture, at the picture's own size."""
    made, source = _pixels(picture), _pixels(scene.picture(*picture.size))
    target = _pixels(scene.after(edit).picture(*picture.size))
    region = _edited(scene.masks(*picture.size), edit.kind)
    if edit.kind in {EditKind.BACKGROUND, EditKind.RECOLOUR}:
        right = _colour_right(made[region].mean(0), target[region].mean(0), edit.kind)
    else:
        left = np.abs(source - target)[region].mean()
        right = bool(np.abs(made - target)[region].mean() < LOGO_TOLERANCE * left)
    stays = np.abs(source - target).max(-1) < SAME
    return Verdict(
        edit_right=right,
        rest_stays=not stays.any() or bool(np.abs(made - target)[stays].mean() < STAY_TOLERANCE),
        psnr_db=float(-10 * np.log10(((made - target) ** 2).mean() + 1e-9)),
    )


def _pixels(picture: Image.Image) -> Pixels:
    return (np.asarray(picture) / 255).astype(np.float32)


def _edited(masks: Masks, kind: EditKind) -> Region:
    """Where the edit shows without anything else mixed in."""
    match kind:
        case EditKind.BACKGROUND:
            parts = np.stack([masks.product, masks.dark, masks.light, masks.shadow])
            return _low(parts)
        case EditKind.RECOLOUR:
            others = np.stack([masks.dark, masks.light, masks.logo])
            return (masks.product > 0.98) & _low(others)
        case EditKind.REMOVE_LOGO | EditKind.ADD_LOGO:
            return (masks.logo > 0.9) & (masks.product > 0.9)


def _low(parts: Pixels) -> Region:
    """Where none of the parts, shape (parts, height, width), covers more than 2 %."""
    low: Region = parts.max(0) < 0.02
    return low


def _colour_right(made: Pixels, target: Pixels, kind: EditKind) -> bool:
    among = {name: colour.rgb for name, colour in PALETTE.items()}
    if kind is EditKind.RECOLOUR:
        among = {name: product_rgb(rgb) for name, rgb in among.items()}
    close = float(np.abs(made - target).max()) < COLOUR_TOLERANCE
    return close and nearest(made, among) == nearest(target, among)
