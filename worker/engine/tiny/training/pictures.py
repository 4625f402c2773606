"""What the autoencoder learns from: crops of drawn products, and of other drawn things."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from worker.engine.tiny.drawing import paint
from worker.engine.tiny.scenes import USUAL_SIDE, Scene
from worker.engine.tiny.states import State

#: pixels of a crop's side: four fit a picture, and convolutions see no further anyway
CROP: Final = 64
STATES: Final = 4  # pictures of each scene
#: share of pictures of anything but products: keeps colours and edges free of each other
OTHER_SHARE: Final = 0.15

#: shape (pictures, side, side, 3)
Bytes = NDArray[np.uint8]


def draw_pool(count: int, seed: int) -> Tensor:
    """``count`` pictures, uint8, shape (count, 128, 128, 3)."""
    rng = np.random.default_rng([seed, 1])
    pool = np.empty((count, USUAL_SIDE, USUAL_SIDE, 3), np.uint8)
    others = int(count * OTHER_SHARE)
    for index in range(others):
        pool[index] = _leaves(rng)
    for index in range(others, count, STATES):
        drawn = _products(rng)[: count - index]
        pool[index : index + len(drawn)] = drawn
    return torch.from_numpy(pool)


def random_crops(pool: Tensor, rng: np.random.Generator, batch: int) -> Tensor:
    """Crops of uint8, shape (batch, 64, 64, 3), mirrored and with exchanged channels at times."""
    device = pool.device
    which = torch.from_numpy(rng.integers(len(pool), size=batch)).to(device)
    top, left = (
        torch.from_numpy(rng.integers(pool.shape[1] - CROP + 1, size=batch)).to(device)
        for _ in range(2)
    )
    along = torch.arange(CROP, device=device)
    rows, columns = (top[:, None] + along)[:, :, None], (left[:, None] + along)[:, None, :]
    crops = pool[which[:, None, None], rows, columns]
    if rng.random() < 0.5:
        crops = crops.flip(2)
    if rng.random() < 0.5:
        crops = crops[..., torch.from_numpy(rng.permutation(3)).to(device)]
    return crops


def _products(rng: np.random.Generator) -> Bytes:
    scene = Scene.random(rng)
    masks = scene.masks()
    states = [scene.state] + [State.random(rng) for _ in range(STATES - 1)]
    return np.stack([np.asarray(paint(masks, state)) for state in states])


def _leaves(rng: np.random.Generator) -> Bytes:
    """Many things that hide each other, of all sizes, noisy at times ("dead leaves")."""
    side = 2 * USUAL_SIDE
    picture = Image.new("RGB", (side, side), _colour(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(20, 120))):
        radius = 4 / rng.uniform(0.03, 1)
        x, y = rng.uniform(0, side, 2)
        if rng.random() < 0.5:
            flat = radius * rng.uniform(0.4, 1)
            draw.ellipse((x - radius, y - flat, x + radius, y + flat), fill=_colour(rng))
        else:
            corners = np.array([x, y]) + rng.normal(0, radius, (int(rng.integers(3, 6)), 2))
            draw.polygon([(float(a), float(b)) for a, b in corners], fill=_colour(rng))
    reduced = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5))).reduce(2)
    noise = rng.normal(0, rng.uniform(0, 6), (USUAL_SIDE, USUAL_SIDE, 1))
    return np.clip(np.asarray(reduced) + noise, 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    return red, green, blue
