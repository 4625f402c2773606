"""Which pixels the model computes, and which the caller gets.  Sizes are (width, height)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jobs.model import EditRequest
from worker.engine.diffusers.models import ModelRow

#: the VAE's factor 8 times the transformer's patch of 2
LEGAL_MULTIPLE: Final = 16
#: what the pipeline rounds its inputs to, hence what the model has seen most
USUAL_MULTIPLE: Final = 32

#: length of the transformer's table of positions, in both directions from zero
ROPE_POSITIONS: Final = 4096
#: side of a patch of the text encoder, after merging four
VISION_PATCH: Final = 28

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputPlan:
    """Compute ``canvas``, hand out ``final``."""

    canvas: Size
    final: Size


def plan_output(row: ModelRow, request: EditRequest, source: Size) -> OutputPlan:
    """What ``request.size`` means for a source of this size.

    ``auto`` and ``source`` compute at the model's own area with the aspect of the *source*;
    diffusers alone would take the last picture's.  ``WxH`` computes at the nearest legal
    size between the row's two areas.
    """
    wanted = request.wanted_size()
    if wanted is not None:
        return OutputPlan(canvas=_nearest_legal(row, wanted), final=wanted)
    canvas = _sides(row.vae_area, source[0] / source[1], USUAL_MULTIPLE)
    return OutputPlan(canvas=canvas, final=source if request.size == "source" else canvas)


def rope_reach(row: ModelRow, canvas: Size, sources: Sequence[Size], text_tokens: int) -> int:
    """The highest position that the transformer would look up.

    Pictures are counted from their middle, and text from where the largest one ends; beyond
    the table, torch would hand out a shorter slice.
    """
    references = [_sides(row.vae_area, width / height, USUAL_MULTIPLE) for width, height in sources]
    longest = max(side for size in (canvas, *references) for side in size)
    seen = sum(_vision_tokens(row, width / height) for width, height in sources)
    return longest // LEGAL_MULTIPLE // 2 + text_tokens + seen


def _vision_tokens(row: ModelRow, aspect: float) -> int:
    width, height = _sides(row.condition_area, aspect, USUAL_MULTIPLE)
    return math.ceil(width / VISION_PATCH) * math.ceil(height / VISION_PATCH) + 8  # and its label


def _nearest_legal(row: ModelRow, wanted: Size) -> Size:
    area = min(max(wanted[0] * wanted[1], row.min_area), row.max_area)
    return _sides(area, wanted[0] / wanted[1], LEGAL_MULTIPLE)


def _sides(area: int, aspect: float, multiple: int) -> Size:
    width = math.sqrt(area * aspect)
    return _rounded(width, multiple), _rounded(width / aspect, multiple)


def _rounded(side: float, multiple: int) -> int:
    return max(round(side / multiple), 1) * multiple
