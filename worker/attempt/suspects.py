"""Whether a person should look at a picture: cheap statistics of it against its source.

Both are reduced to ``GRID`` × ``GRID`` parts of one mean colour each, so that neither noise nor
a shift of a few pixels counts.  Differences and brightness go from 0 to 255.  A flagged picture
is announced like any other.  How often the rules hit, and flag what is right: docs/engine.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Final

from PIL import Image, ImageChops, ImageStat

from jobs.model import EditRequest, Suspicion
from worker.attempt.instructions import names_one_object
from worker.engine.base import NOT_FINITE

GRID: Final = 64
#: The brightest part of a black picture.
BLACK: Final = 16
#: Standard deviation of the parts of a flat picture; a product on its background has 26 or more.
FLAT: Final = 3.0
#: The most that a part of an unchanged picture differs: the VAE alone makes half of this, and
#: the faintest of the measured edits makes 43.
UNCHANGED: Final = 16
#: A part that differs by more has changed, whatever colours drift.
CHANGED: Final = 32
#: Shares of all parts, and of those along the border, that differ in a picture changed all over.
#: A product fills the picture or touches its border; it seldom does both.
ALL_OVER: Final = 0.6
ALL_ROUND: Final = 0.9
#: Parts along each side that count as border.
BORDER: Final = 6
#: Where sides differ more in proportion, nobody can say what became of which part.
SAME_ASPECT: Final = 1.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What the rules are about."""

    not_finite: float  #: share of the model's values that were no numbers
    brightest: int
    spread: float  #: standard deviation of the parts, of the channel that has most
    source_brightest: int
    source_spread: float
    most: int  #: that a part differs from the source's
    changed: float  #: share of the parts
    changed_border: float
    is_comparable: bool  #: source and picture have one shape
    names_one_object: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    code: str
    holds: Callable[[Look], bool]
    message: Callable[[Look], str]


#: The first that holds is told.  A black or flat source may stay so.
RULES: Final = (
    Rule(
        code="nan",
        holds=lambda look: look.not_finite > 0,
        message=lambda look: f"{look.not_finite:.1%} of what the model computed are no numbers",
    ),
    Rule(
        code="black",
        holds=lambda look: look.brightest < BLACK <= look.source_brightest,
        message=lambda look: f"black: no part is brighter than {look.brightest} of 255",
    ),
    Rule(
        code="unchanged",
        holds=lambda look: look.most <= UNCHANGED,
        message=lambda look: f"no part differs from the source by more than {look.most} of 255",
    ),
    Rule(
        code="flat",
        holds=lambda look: look.spread < FLAT <= look.source_spread,
        message=lambda look: f"one colour: its parts differ by {look.spread:.1f} of 255",
    ),
    Rule(
        code="changed_all_over",
        holds=lambda look: (
            look.names_one_object
            and look.is_comparable
            and look.changed >= ALL_OVER
            and look.changed_border >= ALL_ROUND
        ),
        message=lambda look: (
            f"{look.changed:.0%} of it differ from the source; the instruction names one object"
        ),
    ),
)


def suspicion_of(
    picture: Image.Image, source: Image.Image, request: EditRequest
) -> Suspicion | None:
    """``None``: nothing speaks against the picture.  Takes milliseconds."""
    look = look_at(picture, source, request)
    for rule in RULES:
        if rule.holds(look):
            return Suspicion(code=rule.code, message=rule.message(look))
    return None


def look_at(picture: Image.Image, source: Image.Image, request: EditRequest) -> Look:
    """Of RGB pictures of any sizes."""
    made, before = _parts(picture), _parts(source)
    apart = _strongest(ImageChops.difference(made, before))
    inside = (BORDER, BORDER, GRID - BORDER, GRID - BORDER)
    changed, within = _changed(apart), _changed(apart.crop(inside))
    parts, parts_within = GRID**2, (GRID - 2 * BORDER) ** 2
    stretch = (picture.width * source.height) / (picture.height * source.width)
    return Look(
        not_finite=float(picture.info.get(NOT_FINITE, 0.0)),
        brightest=_most(_strongest(made)),
        spread=max(ImageStat.Stat(made).stddev),
        source_brightest=_most(_strongest(before)),
        source_spread=max(ImageStat.Stat(before).stddev),
        most=_most(apart),
        changed=changed / parts,
        changed_border=(changed - within) / (parts - parts_within),
        is_comparable=1 / SAME_ASPECT <= stretch <= SAME_ASPECT,
        names_one_object=names_one_object(request.instruction),
    )


def _parts(picture: Image.Image) -> Image.Image:
    # The gap halves a large picture fast, a part's mean stays its mean.
    return picture.resize((GRID, GRID), Image.Resampling.BOX, reducing_gap=2.0)


def _strongest(picture: Image.Image) -> Image.Image:
    """Of each part, the channel that has most."""
    return reduce(ImageChops.lighter, picture.split())


def _most(plane: Image.Image) -> int:
    counts = plane.histogram()
    return max(value for value, count in enumerate(counts) if count)


def _changed(apart: Image.Image) -> int:
    return sum(apart.histogram()[CHANGED + 1 :])
