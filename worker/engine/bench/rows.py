"""What came out, as the JSON holds it.  Seconds, GiB of 1024³ bytes, TFLOP of 10¹²."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from PIL import Image

from worker.engine.bench.cases import Case
from worker.engine.bench.work import forward_tflop

BASELINE = "plain diffusers"


class Outcome(StrEnum):
    MEASURED = "measured"
    NOT_RUN = "not run"
    FAILED = "failed"


@dataclass(kw_only=True, slots=True)
class Row:
    name: str
    outcome: Outcome
    why: str = ""  #: where it was not measured
    steps: int = 0
    guidance: float = 0.0
    exact: bool = False
    placement: str = "resident"
    levers: Mapping[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_gib: dict[str, float] = field(default_factory=dict)
    #: of the warm-up, which for compiled blocks sees the largest that may be asked for
    warm_peak_gib: dict[str, float] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    times_baseline: float | None = None  #: the baseline's seconds by this one's (``compare``)
    distance: dict[str, float] | None = None  #: to the baseline's picture

    def as_record(self) -> dict[str, Any]:
        return asdict(self)


def row_of(case: Case, outcome: Outcome, why: str = "") -> Row:
    load = case.profile.load
    return Row(
        name=case.name,
        outcome=outcome,
        why=why,
        steps=case.profile.steps,
        guidance=case.profile.guidance,
        exact=case.exact,
        placement=case.placement.value,
        levers={
            "precision": load.precision.value,
            "attention": load.attention,
            "compiled": load.compiled,
            "autotuned": load.autotuned,
            "flat_vae": load.flat_vae,
            "step_cache": load.step_cache,
            "locked_gib": 0.0,  # of weights, in the host's memory
        },
    )


def seconds_by_part(spans: Mapping[str, Sequence[float]], steps: int) -> dict[str, float]:
    """``step`` is the median; a step's passes are added up."""
    passes = spans["transformer"]
    each = len(passes) // steps
    by_step = [sum(passes[at : at + each]) for at in range(0, each * steps, each)]
    return {
        "text_encode": sum(spans["text_encoder"]),
        "vae_encode": sum(spans["vae_encode"]),
        "step": statistics.median(by_step),
        "steps": sum(passes),
        "vae_decode": sum(spans["vae_decode"]),
    }


def work_of(
    transformer: Mapping[str, Any], tokens: Sequence[int], seconds: float, ceiling: float
) -> dict[str, float]:
    """``of_limit``: the card's own limit by the seconds that the passes took."""
    tflop = sum(forward_tflop(transformer, one) for one in tokens)
    return {
        "tokens": max(tokens),
        "passes": len(tokens),
        "tflop_a_pass": tflop / len(tokens),
        "tflop": tflop,
        "tflop_a_second": tflop / seconds,
        "of_limit": tflop / seconds / ceiling,
    }


def compare(row: Row, picture: Image.Image, plain: Row, reference: Image.Image) -> None:
    """By the whole edit; what runs a few steps from host memory, by the step.

    A few steps out of many make no picture to compare.
    """
    is_sample = row.placement != plain.placement and row.steps != plain.steps
    part = "step" if is_sample else "total"
    row.times_baseline = plain.seconds[part] / row.seconds[part]
    row.distance = None if is_sample else distance_between(picture, reference)


def distance_between(one: Image.Image, other: Image.Image) -> dict[str, float]:
    """Of 8-bit colours; equal pictures have 99 dB, as JSON knows no infinity."""
    first, second = (np.asarray(picture, dtype=np.float64) for picture in (one, other))
    if first.shape != second.shape:
        raise ValueError(f"pictures of {one.size} and {other.size} cannot be compared")
    difference = np.abs(first - second)
    square = float((difference**2).mean())
    return {
        "psnr_db": min(10 * math.log10(255**2 / square), 99.0) if square else 99.0,
        "max": float(difference.max()),
        "mean": float(difference.mean()),
    }
