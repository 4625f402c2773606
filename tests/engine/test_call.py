"""What the engine asks of the pipeline, and never asks."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.errors import Permanent
from jobs.model import EditRequest
from worker.engine.base import edited
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.models import ModelRow

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
Pipeline = Any


@pytest.fixture
def call(
    pipeline: Pipeline,
    row: ModelRow,
    ask: Ask,
    product: Image.Image,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """Of an edit on a GPU, with a reference."""
    asked: dict[str, Any] = {}

    def note(self: Any, **arguments: Any) -> Any:  # noqa: ANN401
        self._interrupt = False
        asked.update(arguments)
        return SimpleNamespace(images=[product])

    monkeypatch.setattr(type(pipeline), "__call__", note)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    engine = DiffusersEngine(pipeline, row, card="GPU-1", revision="test")
    edited(engine, [product] * 2, ask(true_cfg_scale=3.0), seed=7)
    return asked


def test_the_noise_is_the_processors_whatever_the_card(call: dict[str, Any]) -> None:
    generator = call["generator"]

    assert generator.device.type == "cpu"
    assert generator.initial_seed() == 7


def test_one_call_is_one_prompt_and_one_picture(call: dict[str, Any]) -> None:
    """Lists of prompts are refused upstream; several pictures a prompt are untested there."""
    assert isinstance(call["prompt"], str)
    assert isinstance(call["negative_prompt"], str)
    assert "num_images_per_prompt" not in call
    assert len(call["image"]) == 2  # references are a list all the same


def test_one_step_is_no_number_and_refused(
    pipeline: Pipeline, engine: DiffusersEngine, ask: Ask, product: Image.Image
) -> None:
    """The schedule is stretched between its first and its last step."""
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, shift_terminal=0.02)
    with np.errstate(all="ignore"):
        scheduler.set_timesteps(sigmas=np.ones(1), mu=0.69)
    fields = {name: getattr(ask(), name) for name in EditRequest.__slots__}
    smuggled = EditRequest.recorded(**{**fields, "steps": 1})

    assert bool(scheduler.sigmas.isnan().any())
    with pytest.raises(Permanent, match="steps: 2 or more, got 1"):
        edited(engine, [product], smuggled, seed=1)
