"""Which pixels the model computes, and which the caller gets.  Sizes are (width, height)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from jobs.model import EditRequest
from worker.engine.diffusers.models import ModelRow

#: the VAE's factor 8 times the transformer's patch of 2
LEGAL_MULTIPLE: Final = 16
#: what the pipeline rounds its inputs to, hence what the model has seen most
USUAL_MULTIPLE: Final = 32

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


def _nearest_legal(row: ModelRow, wanted: Size) -> Size:
    area = min(max(wanted[0] * wanted[1], row.min_area), row.max_area)
    return _sides(area, wanted[0] / wanted[1], LEGAL_MULTIPLE)


def _sides(area: int, aspect: float, multiple: int) -> Size:
    width = math.sqrt(area * aspect)
    return _rounded(width, multiple), _rounded(width / aspect, multiple)


def _rounded(side: float, multiple: int) -> int:
    return max(round(side / multiple), 1) * multiple
