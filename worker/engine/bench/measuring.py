"""One case: built, warmed up, and run once; and the baseline, which is plain diffusers."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from diffusers import QwenImageEditPlusPipeline
from PIL import Image, ImageDraw

from jobs.model import EditRequest
from worker.engine.base import Interrupted, edited
from worker.engine.bench.building import make_parts
from worker.engine.bench.cases import Case
from worker.engine.bench.rows import BASELINE, Outcome, Row, row_of, seconds_by_part, work_of
from worker.engine.bench.sizes import Architecture
from worker.engine.bench.stopwatch import Stopwatch
from worker.engine.bench.work import settle
from worker.engine.diffusers import host
from worker.engine.diffusers.compiling import is_compiled
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.offer import Offer
from worker.engine.diffusers.pipeline import change_part, make_ready
from worker.engine.diffusers.placement import GIB
from worker.engine.diffusers.repairs import noise_of_the_seed, pass_token_types, picture_areas
from worker.engine.tiny.networks import SCHEDULER

INSTRUCTION: Final = "Replace the background with plain white and leave the product as it is."
SEED: Final = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is the same for every case."""

    architecture: Architecture
    device: str
    pictures: int
    steps: int | None  #: in place of longer profiles' own
    ceiling: float  #: TFLOP a second
    overdue: Callable[[], bool]

    def sources(self) -> list[Image.Image]:
        side = self.architecture.side
        picture = Image.linear_gradient("L").resize((side, side)).convert("RGB")
        box = (side // 4, side // 3, side * 3 // 4, side * 5 // 6)
        ImageDraw.Draw(picture).rectangle(box, fill=(36, 88, 200))
        return [picture] * self.pictures


@dataclass(kw_only=True, slots=True)
class Built:
    """A pipeline that cases of one kind share."""

    pipeline: Any
    stopwatch: Stopwatch
    seconds: float
    is_warm: bool = False
    warm_peak_gib: dict[str, float] = field(default_factory=dict)


def build(setting: Setting, case: Case | None) -> Built:
    """The engine's pipeline for that case; without one, the library's as its docs make it."""
    began = time.perf_counter()
    parts = make_parts(setting.architecture, setting.device)
    if case is None:
        pipeline = QwenImageEditPlusPipeline(**parts)
        pipeline.set_progress_bar_config(disable=True)
        # Else it computes another picture (docs/engine.md): no time, but nothing to compare.
        pass_token_types(pipeline.text_encoder)
    else:
        load = case.profile.load
        for name, part in parts.items():
            change_part(name, part, load, setting.device)
        pipeline = QwenImageEditPlusPipeline(**parts)
        make_ready(
            pipeline,
            setting.architecture.row,
            load=load,
            placement=case.placement,
            device=setting.device,
        )
    settle(setting.device)
    seconds = time.perf_counter() - began
    return Built(pipeline=pipeline, stopwatch=Stopwatch(pipeline, setting.device), seconds=seconds)


def baseline(setting: Setting, built: Built, case: Case) -> tuple[Row, Image.Image]:
    """Called as the model's own page does it, with the steps of ``case``."""

    def call(steps: int) -> Image.Image:
        areas = picture_areas(built.pipeline, setting.architecture.row)
        # The engine's noise: else the two pictures could be of two seeds.
        with areas, noise_of_the_seed(built.pipeline), torch.inference_mode():
            made: Image.Image = built.pipeline(
                image=setting.sources(),
                prompt=INSTRUCTION,
                negative_prompt=case.profile.negative,
                true_cfg_scale=case.profile.guidance,
                num_inference_steps=steps,
                width=setting.architecture.side,
                height=setting.architecture.side,
                generator=torch.Generator("cpu").manual_seed(SEED),
            ).images[0]
        return made

    def warm() -> None:
        call(2)

    row = row_of(case, Outcome.MEASURED)
    row.name, row.exact = BASELINE, False
    # as the library makes it
    row.levers = {**row.levers, "flat_vae": False, "compiled": False}
    picture = _timed(setting, built, row, warm, lambda: call(case.profile.steps))
    return row, picture


def measured(setting: Setting, built: Built, case: Case) -> tuple[Row, Image.Image]:
    """The case's row and picture.  Raises whatever the engine does, and ``Interrupted``."""
    pipeline, load = built.pipeline, case.profile.load
    pipeline.scheduler = type(pipeline.scheduler).from_config(
        pipeline.scheduler.config, **{**SCHEDULER, **load.scheduler}
    )
    engine = DiffusersEngine(
        pipeline,
        setting.architecture.row,
        card="cpu:0" if setting.device == "cpu" else "cuda:0",
        revision="random",
        offer=Offer(load=load, profiles=(case.profile,)),
        placement=case.placement,
    )
    request = EditRequest(
        pictures=("0" * 64,) * setting.pictures,
        instruction=INSTRUCTION,
        profile=case.profile.name,
    )

    def go_on(_done: int, _total: int) -> None:
        if setting.overdue():
            raise Interrupted

    row = row_of(case, Outcome.MEASURED)
    row.levers = {**row.levers, "compiled": is_compiled(pipeline.transformer)}
    picture = _timed(
        setting,
        built,
        row,
        engine.warm_up,
        lambda: edited(engine, setting.sources(), request, seed=SEED, on_step=go_on),
    )
    row.levers = {**row.levers, "locked_gib": host.gib_locked(pipeline)}
    return row, picture


def _timed(
    setting: Setting,
    built: Built,
    row: Row,
    warm: Callable[[], None],
    make: Callable[[], Image.Image],
) -> Image.Image:
    began = time.perf_counter()
    if not built.is_warm:
        forget_peak(setting.device)
        warm()
        settle(setting.device)
        built.is_warm = True
        built.warm_peak_gib = peak_gib(setting.device)
    row.seconds |= {"build": built.seconds, "warm_up": time.perf_counter() - began}
    row.warm_peak_gib = built.warm_peak_gib
    built.stopwatch.restart()
    forget_peak(setting.device)
    began = time.perf_counter()
    picture = make()
    settle(setting.device)
    row.seconds["total"] = time.perf_counter() - began
    row.peak_gib = peak_gib(setting.device)
    spans = built.stopwatch.seconds()
    row.seconds |= seconds_by_part(spans, row.steps)
    tokens = built.stopwatch.tokens
    row.work = work_of(
        setting.architecture.transformer, tokens, row.seconds["steps"], setting.ceiling
    )
    return picture


def forget_peak(device: str) -> None:
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: str) -> dict[str, float]:
    """Of the card, since ``forget_peak``; ``reserved`` is what other programs cannot have."""
    if device == "cpu":
        return {}
    return {
        "allocated": torch.cuda.max_memory_allocated() / GIB,
        "reserved": torch.cuda.max_memory_reserved() / GIB,
    }
