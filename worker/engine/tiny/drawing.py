"""From a shape and a state to pixels: soft masks of its parts, and their composition."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from worker.engine.tiny.outlines import Logo, Outline, Point, Polygon, draw_logo, ellipse
from worker.engine.tiny.palette import PALETTE, Rgb
from worker.engine.tiny.states import Background, Blend, State

SUPERSAMPLING: Final = 4  # the masks are drawn larger and reduced: smooth edges
#: a product's own colours are a little flatter than the palette's: a lit thing, no light
FLATTER: Final = 0.94
LIFT: Final = 0.02
DARK_PART: Final[Rgb] = np.array((0.13, 0.13, 0.14), np.float32)
LIGHT_PART: Final[Rgb] = np.array((0.9, 0.9, 0.88), np.float32)
FLOOR_EDGE: Final = 3 / 128  # share of the height over which a floor's edge blends

#: one value for each pixel; shape (height, width), float32
Plane = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How the outline's square lies in the picture's."""

    scale: float
    rotation: float  #: radians
    centre: Point

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(
            scale=rng.uniform(0.62, 0.86),
            rotation=rng.uniform(-0.09, 0.09),
            centre=(rng.uniform(-0.1, 0.1), rng.uniform(-0.06, 0.1)),
        )


@dataclass(frozen=True, kw_only=True)
class Light:
    side: int  #: -1 from the left, 1 from the right
    shadow: float  #: share of the background's light that the shadow takes
    softness: float  #: of the shadow, as a share of the picture's side

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(
            side=int(rng.choice([-1, 1])),
            shadow=rng.uniform(0.35, 0.6),
            softness=rng.uniform(2, 3.5) / 128,
        )


@dataclass(frozen=True, kw_only=True)
class Shape:
    """All that edits leave alone."""

    outline: Outline
    logo: Logo  #: the form that a logo has here, whether there is one or not
    pose: Pose
    light: Light


@dataclass(frozen=True, kw_only=True)
class Masks:
    """Shares of each pixel, 0 to 1, that the parts cover; ``shade`` is the light there."""

    product: Plane
    dark: Plane
    light: Plane
    shadow: Plane
    logo: Plane
    shade: Plane


def draw_masks(shape: Shape, width: int, height: int) -> Masks:
    canvas = _Canvas(shape.pose, width, height)
    outline, light = shape.outline, shape.light
    ground = ellipse(0, outline.ground, outline.half_width * 1.08, 0.1)
    return Masks(
        product=canvas.mask(outline.body, outline.holes, outline.front),
        dark=canvas.mask(outline.dark),
        light=canvas.mask(outline.light),
        shadow=canvas.mask([ground], softness=light.softness) * np.float32(light.shadow),
        logo=canvas.mask(draw_logo(shape.logo, outline.logo_centre, outline.logo_radius)),
        shade=_shade(shape, canvas),
    )


def paint(masks: Masks, state: State) -> Image.Image:
    """An RGB picture of the parts in their colours."""
    pixels = _backdrop(state.background, masks.product.shape) * (1 - masks.shadow[..., None])
    pixels = _over(pixels, masks.product, _lit(product_rgb(state.product), masks.shade))
    pixels = _over(pixels, masks.dark, _lit(DARK_PART, masks.shade))
    pixels = _over(pixels, masks.light, _lit(LIGHT_PART, masks.shade))
    if state.logo_colour is not None:
        pixels = _over(pixels, masks.logo * masks.product, PALETTE[state.logo_colour].rgb)
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))


def product_rgb(rgb: Rgb) -> Rgb:
    """A product of this colour, before light and shade."""
    return (rgb * FLATTER + LIFT).astype(np.float32)


class _Canvas:
    """Maps an outline's square into a picture; the square of -1 to 1 fills the shorter side."""

    def __init__(self, pose: Pose, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.side = min(width, height)
        cos, sin = math.cos(pose.rotation), math.sin(pose.rotation)
        self._turn = np.array([[cos, -sin], [sin, cos]]) * pose.scale
        self._centre = np.array(pose.centre)

    def mask(
        self,
        polygons: Iterable[Polygon],
        holes: Iterable[Polygon] = (),
        front: Iterable[Polygon] = (),
        *,
        softness: float = 0.0,
    ) -> Plane:
        size = (self.width * SUPERSAMPLING, self.height * SUPERSAMPLING)
        image = Image.new("L", size)
        draw = ImageDraw.Draw(image)
        for group, value in ((polygons, 255), (holes, 0), (front, 255)):
            for polygon in group:
                draw.polygon(self._corners(polygon), fill=value)
        image = image.reduce(SUPERSAMPLING)
        if softness:
            image = image.filter(ImageFilter.GaussianBlur(softness * self.side))
        return (np.asarray(image) / 255).astype(np.float32)

    def coordinates(self) -> tuple[Plane, Plane]:
        """x and y of each pixel, before the pose."""
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        return (2 * x - self.width) / self.side, (2 * y - self.height) / self.side

    def _corners(self, polygon: Polygon) -> list[tuple[float, float]]:
        placed = (polygon @ self._turn.T + self._centre) * self.side / 2
        placed = (placed + np.array((self.width / 2, self.height / 2))) * SUPERSAMPLING
        return [(float(x), float(y)) for x, y in placed]


def _shade(shape: Shape, canvas: _Canvas) -> Plane:
    """Light on the product: 1 is even; flat faces have their own, round ones a highlight."""
    x, y = canvas.coordinates()
    across = (x - shape.pose.centre[0]) / shape.pose.scale
    side = shape.light.side
    if shape.outline.faces:
        shade = 1 + 0.05 * side * across
        for polygon, brightness in shape.outline.faces:
            shade = shade * (1 + (brightness - 1) * canvas.mask([polygon]))
    else:
        down = y - shape.pose.centre[1]
        shade = 1.04 + 0.16 * side * across - 0.12 * across**2 - 0.06 * down
    return _clipped(shade, 0.5, 1.25)


def _clipped(plane: Plane, low: float, high: float) -> Plane:
    clipped: Plane = np.clip(plane, low, high).astype(np.float32)
    return clipped


def _lit(rgb: Rgb, shade: Plane) -> NDArray[np.float32]:
    light = shade[..., None]
    return np.clip(rgb * light + 0.03 * (light - 0.8), 0, 1).astype(np.float32)


def _over(below: NDArray[np.float32], mask: Plane, colour: Rgb) -> NDArray[np.float32]:
    return below + mask[..., None] * (colour - below)


def _backdrop(background: Background, size: tuple[int, ...]) -> NDArray[np.float32]:
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / max(height - 1, 1), x / max(width - 1, 1)
    share = _share_of_second(background, x, y)
    return _over(np.broadcast_to(background.first, (*size, 3)), share, background.second)


def _share_of_second(background: Background, x: Plane, y: Plane) -> Plane:
    match background.blend:
        case Blend.VERTICAL:
            return y
        case Blend.RADIAL:
            return _clipped(np.hypot(x - 0.5, y - 0.5) * np.float32(1.35), 0, 1)
        case Blend.FLOOR:
            return _clipped(
                (y - np.float32(background.horizon)) / np.float32(FLOOR_EDGE) + 0.5, 0, 1
            )
        case Blend.PLAIN:
            return np.zeros_like(y)
