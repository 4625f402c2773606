"""Small checkpoints of the siblings: the trained one's weights under another configuration."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from worker.engine.diffusers.engine import DiffusersEngine, Options
from worker.engine.diffusers.models import ModelRow, model_row
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
