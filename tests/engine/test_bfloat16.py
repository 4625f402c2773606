"""What a GPU computes in: run here on the CPU, where all else computes in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as library
from PIL import Image

from jobs.model import EditRequest
from tests.engine.variants import engine_in_bfloat16, parts_for_a_gpu
from worker.engine.base import edited
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.profiles import Load

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]


def test_for_a_gpu_every_network_is_read_as_bfloat16(folder: Path) -> None:
    parts = parts_for_a_gpu(folder)
    networks = [part for part in parts.values() if isinstance(part, torch.nn.Module)]

    assert len(networks) == 3
    assert {one.dtype for part in networks for one in part.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    "load",
    [
        Load(),
        Load(flat_vae=True),
        Load(compiled=True, flat_vae=True),
        Load(step_cache=1e-9),  # looks at each step, and leaves none out
    ],
    ids=["plain", "flat", "compiled", "cached"],
)
def test_in_bfloat16_it_is_the_same_picture_to_rounding(
    engine: DiffusersEngine, folder: Path, ask: Ask, product: Image.Image, load: Load
) -> None:
    request = ask(steps=4, true_cfg_scale=2.0)
    exact, rounded = (
        np.asarray(edited(one, [product], request, seed=1), np.float32)
        for one in (engine, engine_in_bfloat16(folder, load))
    )

    assert np.abs(exact - rounded).mean() < 1  # of 255; another seed moves it by 2.6


def test_noise_is_drawn_in_float32_and_rounded(
    folder: Path, ask: Ask, product: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions of torch draw other bfloat16 numbers from one seed."""
    drawn: list[torch.dtype] = []
    plain = library.randn_tensor

    def note(shape: object, *, dtype: torch.dtype, **choices: object) -> torch.Tensor:
        drawn.append(dtype)
        noise: torch.Tensor = plain(shape, dtype=dtype, **choices)
        return noise

    monkeypatch.setattr(library, "randn_tensor", note)
    engine = engine_in_bfloat16(folder, Load())
    edited(engine, [product], ask(steps=2), seed=1)

    assert drawn == [torch.float32]
    assert library.randn_tensor is note  # put back
