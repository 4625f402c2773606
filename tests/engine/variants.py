"""Small checkpoints of the siblings: the trained one's weights under another configuration."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffusers import QwenImageEditPlusPipeline

from worker.engine.diffusers import pipeline as loading
from worker.engine.diffusers.compiling import compile_blocks
from worker.engine.diffusers.engine import DiffusersEngine, Options
from worker.engine.diffusers.models import ModelRow, model_row
from worker.engine.diffusers.placement import Placement
from worker.engine.diffusers.profiles import Load

TINY = model_row("qwen-image-edit-2509-tiny")


def tiny_row(name: str) -> ModelRow:
    """A model's row, at the small checkpoint's sizes."""
    return replace(
        model_row(name),
        vae_area=TINY.vae_area,
        condition_area=TINY.condition_area,
        min_area=TINY.min_area,
        max_area=TINY.max_area,
        max_aspect=TINY.max_aspect,
        needs=TINY.needs,
        profiles=TINY.profiles,
    )


def loaded_so(load: Load) -> ModelRow:
    """The small checkpoint's row with one profile, of that load."""
    return replace(TINY, profiles=(replace(TINY.profiles[0], load=load),))


def variant(source: Path, folder: Path, file: str, **values: object) -> Path:
    """A copy of ``source`` in which that JSON file says other things."""
    shutil.copytree(source, folder)
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def load(folder: Path, row: ModelRow, options: Options | None = None) -> DiffusersEngine:
    return DiffusersEngine.load_row(folder, row, card="cpu:0", options=options or Options())


def parts_for_a_gpu(folder: Path) -> dict[str, Any]:
    index = json.loads((folder / "model_index.json").read_text())
    return {
        name: loading._part(folder, name, value, "cuda")  # noqa: SLF001 - read, not yet moved
        for name, value in index.items()
        if not name.startswith("_")
    }


def engine_in_bfloat16(
    folder: Path, load: Load, *, smaller: Placement | None = None
) -> DiffusersEngine:
    """As on a GPU, but for where it computes."""
    parts = parts_for_a_gpu(folder)
    for name, part in parts.items():
        loading.change_part(name, part, load, "cpu")
    if load.compiled:  # which ``change_part`` leaves to GPUs
        compile_blocks(parts["transformer"], backend="eager")
    pipeline = QwenImageEditPlusPipeline(**parts)
    loading.make_ready(pipeline, TINY, load=load, placement=Placement.RESIDENT, device="cpu")
    return DiffusersEngine(pipeline, TINY, card="cpu:0", revision="test", smaller=smaller)


class Loaded(Exception):
    """Instead of weights: a start has come so far."""


def loads_nothing(*_arguments: object, **_choices: object) -> None:
    """In ``load_pipeline``'s place."""
    raise Loaded
