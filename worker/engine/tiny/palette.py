"""The colours that instructions can name.  Channels go from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: red, green, blue; shape (3,)
Rgb = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Colour:
    name: str
    rgb_bytes: tuple[int, int, int]
    english: tuple[str, ...]
    chinese: tuple[str, ...]

    @property
    def rgb(self) -> Rgb:
        return (np.array(self.rgb_bytes) / 255).astype(np.float32)


def _colour(rgb: tuple[int, int, int], english: str, chinese: str) -> Colour:
    words = tuple(english.split("|"))
    return Colour(name=words[0], rgb_bytes=rgb, english=words, chinese=tuple(chinese.split("|")))


_COLOURS: Final = (
    _colour((255, 255, 255), "white|pure white|plain white", "白色|纯白色"),
    _colour((24, 24, 26), "black", "黑色|纯黑色"),
    _colour((140, 142, 146), "gray|grey", "灰色"),
    _colour((208, 32, 38), "red", "红色"),
    _colour((240, 130, 28), "orange", "橙色|橘色"),
    _colour((246, 208, 48), "yellow", "黄色"),
    _colour((40, 150, 72), "green", "绿色"),
    _colour((36, 88, 200), "blue", "蓝色"),
    _colour((126, 58, 172), "purple|violet", "紫色"),
    _colour((244, 146, 186), "pink", "粉色|粉红色"),
    _colour((122, 78, 46), "brown", "棕色|咖啡色|褐色"),
)
PALETTE: Final = {colour.name: colour for colour in _COLOURS}


def contrasting(name: str) -> str:
    """White on a dark colour, black on a light one."""
    return "white" if PALETTE[name].rgb.mean() < 0.5 else "black"


def pick(rng: np.random.Generator, *avoid: str | None) -> str:
    """A colour's name, none of those to avoid."""
    names = [name for name in PALETTE if name not in avoid]
    return names[int(rng.integers(len(names)))]


def nearest(rgb: Rgb, among: dict[str, Rgb]) -> str:
    """The name whose colour is the closest."""
    return min(among, key=lambda name: float(((among[name] - rgb) ** 2).sum()))
