"""python -m tests.unit.worker.suspect_cases [COUNT]: how often suspicion is right.

On drawn products.  Right edits are the exact targets, and what a model and a camera do to
them; planted pictures are what the rules are for.  The same call gives the same figures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from jobs.model import EditRequest
from worker.attempt.instructions import names_one_object
from worker.attempt.suspects import suspicion_of
from worker.engine.base import NOT_FINITE
from worker.engine.tiny.cases import Case, held_out_cases
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import EditKind

SIDE: Final = 1024  # pixels; the model's own
SEED: Final = 7
Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A picture that was looked at, and what the rules said."""

    name: str
    wanted: str | None  #: the code that is right
    found: str | None
    object_named: bool


def jpeg(picture: Image.Image) -> Image.Image:
    file = BytesIO()
    picture.save(file, "JPEG", quality=70)
    return Image.open(file).convert("RGB")


def softened(picture: Image.Image) -> Image.Image:
    """About what a VAE and two resizes do."""
    side = picture.width * 2 // 3
    smaller = picture.resize((side, side), Image.Resampling.BICUBIC)
    return smaller.filter(ImageFilter.GaussianBlur(1)).resize(picture.size)


def grown(share: float) -> Change:
    """The whole picture is a little larger, as models do."""
    return lambda picture: _inner(picture, share)


def drifted(picture: Image.Image) -> Image.Image:
    brighter = ImageEnhance.Brightness(picture).enhance(1.05)
    return ImageEnhance.Color(brighter).enhance(0.93)


def _inner(picture: Image.Image, share: float) -> Image.Image:
    side, edge = picture.width, round(picture.width * share)
    return picture.crop((edge, edge, side - edge, side - edge)).resize(picture.size)


#: What may happen to a right picture.
WAYS: Final[Mapping[str, Change]] = {
    "exact": lambda picture: picture,
    "JPEG, quality 70": jpeg,
    "softened": softened,
    "1 % larger": grown(0.01),
    "3 % larger": grown(0.03),
    "colours off by 5 %": drifted,
}
#: Of the picture, the middle part that is left in a close-up.
CLOSE_UP: Final = 0.2


def right_edits(case: Case, side: int) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Name, made picture and source."""
    source = case.scene.picture(side, side)
    target = case.scene.after(case.edit).picture(side, side)
    for name, change in WAYS.items():
        yield f"{case.edit.kind}, {name}", change(target), source
    close = grown(CLOSE_UP)
    yield f"{case.edit.kind}, close-up", close(target), close(source)


def planted(
    case: Case, source: Image.Image, rng: np.random.Generator
) -> Iterator[tuple[str, str, Image.Image]]:
    """Name, the code that is right, and the picture."""
    black, grey = Image.new("RGB", source.size), Image.new("RGB", source.size, "rgb(120,118,125)")
    broken = black.copy()
    broken.info[NOT_FINITE] = 1.0
    yield "numbers that are none", "nan", broken
    yield "black", "black", black
    yield "black with noise", "black", _noisy(black, rng, 4)
    yield "one colour", "flat", grey
    yield "one colour with noise", "flat", _noisy(grey, rng, 4)
    yield "the source", "unchanged", source
    yield "the source, JPEG", "unchanged", jpeg(source)
    yield "the source, softened", "unchanged", softened(source)
    if case.edit.kind is EditKind.BACKGROUND:
        return
    yield "another picture", "changed_all_over", Scene.random(rng).picture(*source.size)
    after = case.scene.after(case.edit)
    other = after.random_edit(rng, EditKind.BACKGROUND)
    yield "another background too", "changed_all_over", after.after(other).picture(*source.size)
    noise = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    yield "coarse noise", "changed_all_over", Image.fromarray(noise).resize(source.size)
    tint = Image.blend(source, Image.new("RGB", source.size, "rgb(20,160,60)"), 0.5)
    yield "a tint over all", "changed_all_over", tint


def tried(count: int, side: int = SIDE) -> list[Tried]:
    """``count`` cases of each kind of edit."""
    rng = np.random.default_rng(SEED)
    found = []
    for case in _cases(count):
        for name, picture, source in right_edits(case, side):
            found.append(_tried(name, None, case, picture, source))
        source = case.scene.picture(side, side)
        for name, wanted, picture in planted(case, source, rng):
            found.append(_tried(name, wanted, case, picture, source))
    return found


def _cases(count: int) -> Iterator[Case]:
    for kind in EditKind:
        yield from held_out_cases(kind, count, SEED, unseen=False)


def _noisy(picture: Image.Image, rng: np.random.Generator, spread: float) -> Image.Image:
    pixels = np.asarray(picture) + rng.normal(0, spread, (*picture.size, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _tried(
    name: str, wanted: str | None, case: Case, picture: Image.Image, source: Image.Image
) -> Tried:
    request = EditRequest(pictures=("0" * 64,), instruction=case.instruction)
    suspicion = suspicion_of(picture, source, request)
    return Tried(
        name=name,
        wanted=wanted,
        found=suspicion.code if suspicion else None,
        object_named=names_one_object(case.instruction),
    )


def share(of: Iterable[bool]) -> float:
    those = list(of)
    return sum(those) / len(those)


def main() -> None:
    found = tried(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
    for name in dict.fromkeys(one.name for one in found):
        those = [one for one in found if one.name == name]
        named = [one for one in those if one.object_named]
        right = share(one.found == one.wanted for one in those)
        line = f"{name:36}{those[0].wanted or 'none':18}{len(those):6}{right:8.1%}"
        if those[0].wanted == "changed_all_over":
            line += f"   {share(one.found == one.wanted for one in named):.1%} of {len(named)}"
        sys.stdout.write(f"{line}\n")
    right_ones = [one for one in found if one.wanted is None]
    flagged = share(one.found is not None for one in right_ones)
    sys.stdout.write(f"right edits: {len(right_ones)}, {flagged:.2%} flagged\n")


if __name__ == "__main__":
    main()
