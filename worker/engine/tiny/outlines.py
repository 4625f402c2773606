"""Shapes of products and logos as polygons, in a square from -1 to 1 (x right, y down)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: corners; shape (corners, 2)
Polygon = NDArray[np.float64]
Point = tuple[float, float]


class Product(StrEnum):
    TSHIRT = "tshirt"
    MUG = "mug"
    BAG = "bag"
    SHOE = "shoe"
    BOTTLE = "bottle"
    BOX = "box"


class Logo(StrEnum):
    STAR = "star"
    CIRCLE = "circle"
    STRIPE = "stripe"
    HEART = "heart"


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The silhouette is ``body`` less ``holes``, and ``front`` over both."""

    body: Sequence[Polygon]
    holes: Sequence[Polygon] = ()
    front: Sequence[Polygon] = ()
    dark: Sequence[Polygon] = ()
    light: Sequence[Polygon] = ()
    #: flat sides and how bright they are
    faces: Sequence[tuple[Polygon, float]] = ()
    logo_centre: Point
    logo_radius: float
    #: where the shadow lies, and half its width
    ground: float
    half_width: float


def draw_outline(product: Product, rng: np.random.Generator) -> Outline:
    """A product of random proportions."""
    return _DRAWN[product](rng)


def draw_logo(logo: Logo, centre: Point, radius: float) -> list[Polygon]:
    x, y = centre
    match logo:
        case Logo.STAR:
            return [_star(x, y, radius)]
        case Logo.CIRCLE:
            return [ellipse(x, y, radius * 0.85, radius * 0.85)]
        case Logo.HEART:
            return [_heart(x, y, radius)]
        case Logo.STRIPE:
            wide, thin = 1.15 * radius, 0.2 * radius
            return [
                _rectangle(x - wide, middle - thin, x + wide, middle + thin)
                for middle in (y - 0.55 * radius, y + 0.35 * radius)
            ]


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Polygon:
    angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], 1)


def _star(x: float, y: float, radius: float) -> Polygon:
    corner = np.arange(10)
    angle = -math.pi / 2 + corner * math.pi / 5
    reach = np.where(corner % 2 == 0, radius * 1.1, radius * 0.46)
    return np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], 1)


def _heart(x: float, y: float, radius: float) -> Polygon:
    t = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    drop = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x + radius * 0.95 * np.sin(t) ** 3, y - radius * 0.062 * drop], 1)


def _rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def _rounded(corners: Sequence[Point] | Polygon, times: int = 1) -> Polygon:
    """Cut the corners (Chaikin), each time at a quarter of the sides."""
    polygon = np.asarray(corners, float)
    for _ in range(times):
        after = np.roll(polygon, -1, 0)
        cut = [0.75 * polygon + 0.25 * after, 0.25 * polygon + 0.75 * after]
        polygon = np.stack(cut, 1).reshape(-1, 2)
    return polygon


def _symmetric(right_half: Sequence[Point]) -> Polygon:
    left_half = [(-x, y) for x, y in reversed(right_half)]
    return _rounded(left_half + list(right_half))


def _side(rng: np.random.Generator) -> int:
    return int(rng.choice([-1, 1]))


def _tshirt(rng: np.random.Generator) -> Outline:
    width, sleeve, length = (
        rng.uniform(0.46, 0.56),
        rng.uniform(0.86, 0.98),
        rng.uniform(0.72, 0.88),
    )
    half = [
        (0.2, -0.78),
        (width * 0.85, -0.7),
        (sleeve, -0.22),
        (sleeve - 0.26, -0.04),
        (width, -0.3),
        (width, length),
    ]
    return Outline(
        body=[_symmetric(half)],
        holes=[ellipse(0, -0.82, 0.19, 0.15)],
        logo_centre=(0, -0.02),
        logo_radius=rng.uniform(0.22, 0.3),
        ground=length,
        half_width=width,
    )


def _mug(rng: np.random.Generator) -> Outline:
    width, height, side = rng.uniform(0.44, 0.55), rng.uniform(0.5, 0.66), _side(rng)
    wall = _rectangle(-width, -height, width, height)
    handle = ellipse(side * (width + 0.04), 0, 0.32, height * 0.62)
    return Outline(
        body=[ellipse(0, -height, width, 0.13), wall, ellipse(0, height, width, 0.12), handle],
        holes=[ellipse(side * (width + 0.06), 0, 0.19, height * 0.42)],
        front=[wall],
        dark=[ellipse(0, -height, width * 0.93, 0.1)],
        logo_centre=(0, 0.06),
        logo_radius=rng.uniform(0.2, 0.28),
        ground=height + 0.1,
        half_width=width,
    )


def _bag(rng: np.random.Generator) -> Outline:
    width, height, taper = rng.uniform(0.6, 0.75), rng.uniform(0.45, 0.58), rng.uniform(0.8, 0.95)
    bottom = -0.2 + 2 * height
    sack = _rounded(
        [(-width * taper, -0.2), (width * taper, -0.2), (width, bottom), (-width, bottom)]
    )
    return Outline(
        body=[sack, ellipse(0, -0.22, width * 0.55, 0.52)],
        holes=[ellipse(0, -0.22, width * 0.55 - 0.1, 0.42)],
        front=[sack],
        logo_centre=(0, -0.2 + height),
        logo_radius=rng.uniform(0.22, 0.3),
        ground=bottom,
        half_width=width,
    )


def _shoe(rng: np.random.Generator) -> Outline:
    side, arch = _side(rng), rng.uniform(0.9, 1.1)
    heel = [(-0.85, -0.45), (-0.5, -0.52), (-0.3, -0.42)]
    toe = [(0.05, -0.16 * arch), (0.5, 0.02), (0.88, 0.14), (0.95, 0.36), (-0.88, 0.36), (-0.9, 0)]
    turned = np.array([side, 1])
    return Outline(
        body=[_rounded(np.array(heel + toe) * turned, 2)],
        light=[_rounded(_rectangle(-0.92, 0.3, 0.97, 0.46) * turned)],
        logo_centre=(side * -0.36, -0.04),
        logo_radius=rng.uniform(0.19, 0.24),
        ground=0.46,
        half_width=0.92,
    )


def _bottle(rng: np.random.Generator) -> Outline:
    width, height = rng.uniform(0.28, 0.38), rng.uniform(0.72, 0.85)
    neck = width * rng.uniform(0.36, 0.5)
    half = [(neck, -height), (neck, -height + 0.22), (width, -height + 0.52), (width, height)]
    return Outline(
        body=[_symmetric(half)],
        dark=[_rectangle(-neck * 1.2, -height - 0.12, neck * 1.2, -height + 0.12)],
        logo_centre=(0, 0.22),
        logo_radius=width * rng.uniform(0.62, 0.75),
        ground=height,
        half_width=width,
    )


def _box(rng: np.random.Generator) -> Outline:
    width, height, depth = rng.uniform(0.45, 0.62), rng.uniform(0.42, 0.62), rng.uniform(0.18, 0.3)
    side, rise = _side(rng), depth * 0.7
    back = side * depth
    front = _rectangle(-width, -height, width, height)
    top = [(-width, -height), (width, -height), (width + back, -height - rise)]
    lid = np.array([*top, (-width + back, -height - rise)])
    edge = side * width
    flank = np.array(
        [
            (edge, -height),
            (edge + back, -height - rise),
            (edge + back, height - rise),
            (edge, height),
        ]
    )
    return Outline(
        body=[front, lid, flank],
        faces=[(lid, 1.14), (flank, 0.72)],
        logo_centre=(0, 0),
        logo_radius=rng.uniform(0.22, 0.32),
        ground=height,
        half_width=width,
    )


_DRAWN: Final[dict[Product, Callable[[np.random.Generator], Outline]]] = {
    Product.TSHIRT: _tshirt,
    Product.MUG: _mug,
    Product.BAG: _bag,
    Product.SHOE: _shoe,
    Product.BOTTLE: _bottle,
    Product.BOX: _box,
}
