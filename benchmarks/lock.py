"""How long a job keeps the card, with its pictures made ready there and made ready before.

python -m benchmarks.lock: the engine with the small checkpoint; and the preparing alone at the
real model's sizes, which is what its cards no longer wait for.  Milliseconds of one core, which
computes alone: what else the machine does does not count.  Medians of ``--runs``, in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

import numpy as np
from PIL import Image

from benchmarks.results import show, write
from jobs.model import EditRequest
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.models import model_row
from worker.engine.diffusers.pipeline import load_pipeline

Made = TypeVar("Made")

WEIGHTS: Final = Path(__file__).parents[1] / "models" / "tiny"
TINY: Final = "qwen-image-edit-2509-tiny"
#: Its areas, under the small checkpoint's processors: these are of the real model's kind.
REAL: Final = "qwen-image-edit-2509"
SOURCES: Final = {"1 MP": (1024, 1024), "12 MP": (4000, 3000)}
STEPS: Final = {"quality": 8, "fast": 4}


def photo(size: tuple[int, int]) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(noise)


def timed(act: Callable[[], Made]) -> tuple[Made, float]:
    """And the CPU seconds of this thread."""
    began = time.thread_time()
    made = act()
    return made, time.thread_time() - began


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lock")
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    tiny = DiffusersEngine.load(WEIGHTS, card="cpu:0", model=TINY, threads=1)
    tiny.warm_up()
    sizes = model_row(REAL)
    row = replace(model_row(TINY), vae_area=sizes.vae_area, condition_area=sizes.condition_area)
    real = DiffusersEngine(
        load_pipeline(WEIGHTS, row, "cpu"), row, card="cpu:0", revision="at real sizes"
    )
    rows = [of(tiny, real, name, profile, runs) for name in SOURCES for profile in STEPS]
    title = "Milliseconds under the card's lock, made ready there and before"
    show(title, list(rows[0]), [list(row.values()) for row in rows])
    write("lock", {"rows": rows, "runs": runs})
    return 0


def of(
    tiny: DiffusersEngine, real: DiffusersEngine, source: str, profile: str, runs: int
) -> dict[str, object]:
    picture = photo(SOURCES[source])
    request = EditRequest(
        pictures=("0" * 64,), instruction="make it white", model=TINY, profile=profile
    )
    prepared, on_card, at_real_size = [], [], []
    for _ in range(runs):
        edit, took = timed(lambda: tiny.prepare([picture], request, seed=0))
        prepared.append(took)
        on_card.append(timed(partial(edit.on_card, lambda *_: None))[1])
        at_real_size.append(timed(lambda: real.prepare([picture], request, seed=0))[1])
    before = median(p + c for p, c in zip(prepared, on_card, strict=True))
    return {
        "source": source,
        "profile": profile,
        "before_ms": round(before * 1000, 1),
        "after_ms": round(median(on_card) * 1000, 1),
        "after_by_before": round(median(on_card) / before, 3),
        "off_the_card_at_1_mp_ms": round(median(at_real_size) * 1000, 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
