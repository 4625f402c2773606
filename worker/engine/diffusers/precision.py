"""Rounding a transformer's large layers to fp8, through torchao.

The tests round and compute on the CPU, by the same code down to the product of two rounded
matrices, for which a GPU has kernels of its own (run on an H200: docs/benchmarks.md).
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

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


#: Of an NVIDIA GPU that multiplies in fp8: Ada, Hopper and newer.
CAPABILITY: Final = (8, 9)


def to_fp8(transformer: torch.nn.Module, device: str) -> None:
    """Onto the GPU and rounded, layer by layer: the card never holds the whole of it in bf16.

    Raises ``BadSettings`` without torchao, on the CPU or an older GPU, and when a layer that
    was to be rounded was not.
    """
    check_card(device)
    try:
        torchao: Any = importlib.import_module("torchao.quantization")
    except ImportError:
        raise BadSettings("fp8 needs the package torchao") from None
    config = torchao.Float8DynamicActivationFloat8WeightConfig(
        granularity=torchao.PerRow(),
        # It would change the compiler's settings for whatever else this process compiles.
        set_inductor_config=False,
    )
    torchao.quantize_(transformer, config, filter_fn=is_rounded, device=device)
    _check_rounded(transformer)


def check_card(device: str) -> None:
    """Before torchao asserts it.  Raises ``BadSettings``."""
    if device == "cpu":
        raise BadSettings("fp8 needs a GPU: serve another profile on the CPU")
    if device == "cuda" and (found := torch.cuda.get_device_capability()) < CAPABILITY:
        needed, has = (".".join(map(str, one)) for one in (CAPABILITY, found))
        raise BadSettings(
            f"fp8 needs a GPU of compute capability {needed} or newer, this one has {has}:"
            " serve another profile on it"
        )


def _check_rounded(transformer: torch.nn.Module) -> None:
    """torchao passes over sides that its kernels do not take, and says nothing."""
    left = [
        f"{name} {tuple(layer.weight.shape)}"
        for name, layer in transformer.named_modules()
        if is_rounded(layer, name) and not is_traceable_wrapper_subclass(layer.weight)
    ]
    if left:
        raise BadSettings(
            f"fp8: {len(left)} layers cannot be rounded, of which {left[0]}: each side must be a"
            " multiple of 16"
        )


def is_rounded(layer: torch.nn.Module, name: str) -> bool:
    parts = f".{name}."
    return isinstance(layer, torch.nn.Linear) and not any(f".{kept}." in parts for kept in KEPT)


def has_rounded(part: torch.nn.Module) -> bool:
    """Whether any weight is a wrapper around rounded ones, which is not to be reached into."""
    return any(is_traceable_wrapper_subclass(weight) for weight in part.parameters())


def bytes_of(tensor: torch.Tensor) -> int:
    """What it takes in memory: a rounded one tells the size of what it stands for."""
    wrapped: Any = tensor
    if not is_traceable_wrapper_subclass(wrapped):
        return tensor.nbytes
    parts, _ = wrapped.__tensor_flatten__()
    return sum(bytes_of(getattr(tensor, name)) for name in parts)
