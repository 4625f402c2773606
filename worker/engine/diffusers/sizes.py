"""Which pixels the model computes.  Sizes are (width, height)."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def canvas_of(row: ModelRow, request: EditRequest, source: Size) -> Size:
    """What is computed for ``request.size`` and a source of this size.

    ``auto`` and ``source`` compute at the model's own area with the aspect of the *source*;
    diffusers alone would take the last picture's.  ``WxH`` computes at the nearest legal
    size between the row's two areas.
    """
    wanted = request.wanted_size()
    return seen_size(row, source) if wanted is None else _nearest_legal(row, wanted)


def seen_size(row: ModelRow, picture: Size) -> Size:
    """What the transformer sees a picture as: about the model's own area, in its own aspect."""
    aspect = picture[0] / picture[1]
    if not row.area_is_limit:
        return _sides(row.vae_area, aspect, USUAL_MULTIPLE)
    width = math.sqrt(row.vae_area * aspect)
    width, height = _rounded_down(width), _rounded_down(width / aspect)
    # Rounding may have made it longer than the pipeline takes.
    return min(width, height * row.max_aspect), min(height, width * row.max_aspect)


def condition_size(row: ModelRow, picture: Size) -> Size:
    """What the text encoder sees a picture as."""
    return _sides(row.condition_area, picture[0] / picture[1], USUAL_MULTIPLE)


def rope_reach(row: ModelRow, canvas: Size, sources: Sequence[Size], text_tokens: int) -> int:
    """The highest position that the transformer would look up.

    Pictures are counted from their middle, and text from where the largest one ends; beyond
    the table, torch would hand out a shorter slice.
    """
    references = [seen_size(row, source) for source in sources]
    longest = max(side for size in (canvas, *references) for side in size)
    seen = sum(_vision_tokens(row, source) for source in sources)
    return longest // LEGAL_MULTIPLE // 2 + text_tokens + seen


def _vision_tokens(row: ModelRow, source: Size) -> int:
    width, height = condition_size(row, source)
    return math.ceil(width / VISION_PATCH) * math.ceil(height / VISION_PATCH) + 8  # and its label


def _nearest_legal(row: ModelRow, wanted: Size) -> Size:
    area = min(max(wanted[0] * wanted[1], row.min_area), row.max_area)
    return _sides(area, wanted[0] / wanted[1], LEGAL_MULTIPLE)


def _sides(area: int, aspect: float, multiple: int) -> Size:
    width = math.sqrt(area * aspect)
    return _rounded(width, multiple), _rounded(width / aspect, multiple)


def _rounded(side: float, multiple: int) -> int:
    return max(round(side / multiple), 1) * multiple


def _rounded_down(side: float) -> int:
    return max(int(side) // LEGAL_MULTIPLE, 1) * LEGAL_MULTIPLE
