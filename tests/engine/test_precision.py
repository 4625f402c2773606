"""Rounding to fp8, as far as it can be seen without a GPU: what is rounded, how, and how large."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from jobs.errors import BadSettings
from tests.engine.full_sizes import BF16, full_parts
from tests.engine.variants import TINY
from worker.engine.diffusers.pipeline import load_pipeline
from worker.engine.diffusers.placement import GIB, QWEN_BF16, QWEN_FP8, Placement
from worker.engine.diffusers.precision import is_rounded, to_fp8

pytestmark = pytest.mark.engine
#: For one request beside the weights (vLLM-Omni, H200: 61,091 MiB of which 58,777 are static).
A_REQUEST = 2.3


def test_fp8_is_no_load_for_a_cpu() -> None:
    with pytest.raises(BadSettings, match="fp8 needs a GPU"):
        to_fp8(torch.nn.Linear(2, 2), "cpu")


def test_fp8_leaves_the_layers_that_show(random_folder: Path) -> None:
    transformer = load_pipeline(random_folder, TINY, "cpu").transformer
    rounded = {name for name, part in transformer.named_modules() if is_rounded(part, name)}

    assert "transformer_blocks.0.attn.to_q" in rounded
    assert "transformer_blocks.0.img_mlp.net.0.proj" in rounded
    for kept in ("img_in", "proj_out", "norm_out.linear", "transformer_blocks.0.img_mod.1"):
        assert kept not in rounded
    assert "transformer_blocks.1.img_mlp.net.2" not in rounded


def test_the_card_never_holds_the_whole_transformer_unrounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torchao moves each layer before it rounds it; a stand-in sees where they were until then."""
    came: dict[str, Any] = {}
    torchao = ModuleType("torchao.quantization")

    def quantize(model: torch.nn.Module, _config: object, *, filter_fn: Any, device: str) -> None:  # noqa: ANN401
        came.update(at=next(model.parameters()).device.type, to=device, only=filter_fn)

    vars(torchao).update(
        quantize_=quantize,
        PerRow=lambda: "row",
        Float8DynamicActivationFloat8WeightConfig=lambda *, granularity: granularity,
    )
    monkeypatch.setitem(sys.modules, "torchao", ModuleType("torchao"))
    monkeypatch.setitem(sys.modules, "torchao.quantization", torchao)
    to_fp8(torch.nn.Linear(2, 2), "meta")

    assert came == {"at": "cpu", "to": "meta", "only": is_rounded}


@pytest.fixture(scope="module")
def gib() -> dict[str, float]:
    """Of the real model's parts, computed from their sizes."""
    parts = full_parts()
    saved = sum(
        part.weight.numel()
        for name, part in parts["transformer"].named_modules()
        if isinstance(part, torch.nn.Linear) and is_rounded(part, name)
    )
    held = {
        name: BF16 * sum(one.numel() for one in part.parameters()) for name, part in parts.items()
    }
    held["rounded"] = held["transformer"] - saved
    return {name: size / GIB for name, size in held.items()}


def test_every_placement_has_room_for_what_it_puts_on_the_card(gib: dict[str, float]) -> None:
    beside = gib["text_encoder"] + gib["vae"] + A_REQUEST

    for needs, transformer in ((QWEN_BF16, "transformer"), (QWEN_FP8, "rounded")):
        assert needs.resident > gib[transformer] + beside
        assert needs.model_offload > gib[transformer] + A_REQUEST
    assert gib["rounded"] == pytest.approx(27.5, abs=0.05)
    assert Placement.GROUP_OFFLOAD not in QWEN_FP8.ladder  # it is rounded on the card, in one
