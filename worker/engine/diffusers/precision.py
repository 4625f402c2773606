"""Rounding a transformer's large layers to fp8, through torchao.

Not run by the tests: it needs a GPU of compute capability 8.9 or newer, and torchao.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import torch

from jobs.errors import BadSettings

#: Layers that stay in bf16, as SGLang's preset for this model keeps them: rounding these shows.
KEPT: Final = (
    "img_in",
    "txt_in",
    "proj_out",
    "norm_out",
    "time_text_embed",
    "img_mod",
    "txt_mod",
    "img_mlp.net.2",
)


def to_fp8(transformer: torch.nn.Module, device: str) -> None:
    """Onto the GPU and rounded, layer by layer: the card never holds the whole of it in bf16.

    Raises ``BadSettings`` without torchao, or on the CPU.
    """
    if device == "cpu":
        raise BadSettings("fp8 needs a GPU: serve another profile on the CPU")
    try:
        torchao: Any = importlib.import_module("torchao.quantization")
    except ImportError:
        raise BadSettings("fp8 needs the package torchao") from None
    config = torchao.Float8DynamicActivationFloat8WeightConfig(granularity=torchao.PerRow())
    torchao.quantize_(transformer, config, filter_fn=is_rounded, device=device)


def is_rounded(layer: torch.nn.Module, name: str) -> bool:
    parts = f".{name}."
    return isinstance(layer, torch.nn.Linear) and not any(f".{kept}." in parts for kept in KEPT)
