"""Adding a LoRA's weights to a model's, once, at load.

W' = W + scale · B·A with scale = alpha / rank (Hu et al. 2021, arXiv:2106.09685, section 4.1;
alpha = rank where the file names none).  Computed in float32 and rounded once.  diffusers'
own loader needs peft, keeps the addition beside the weights, and so pays for it in each step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file

from jobs.errors import BadSettings

#: What the tools of others put before a module's name.
_PREFIXES: Final = ("transformer.", "diffusion_model.", "base_model.model.")
#: The two spellings of a matrix: kohya's and peft's.
_ENDINGS: Final = {
    ".lora_down.weight": "down",
    ".lora_A.weight": "down",
    ".lora_A.default.weight": "down",
    ".lora_up.weight": "up",
    ".lora_B.weight": "up",
    ".lora_B.default.weight": "up",
    ".alpha": "alpha",
}

Parts = dict[str, torch.Tensor]


def merge_lora(model: Any, file: Path) -> int:  # noqa: ANN401 - untyped library
    """Add the file's weights to the model's linear layers; how many it changed.

    Raises ``BadSettings`` when anything in the file finds no place: a LoRA that is added in
    part makes pictures that are wrong in a way nobody sees.
    """
    modules = dict(model.named_modules())
    layers = _layers(load_file(file), file)
    problems = [why for name, parts in layers.items() if (why := _misfit(name, parts, modules))]
    if problems:
        raise BadSettings(f"{file.name}: does not fit this model: {'; '.join(problems[:5])}")
    for name, parts in layers.items():
        _add(modules[name], parts)
    return len(layers)


def _layers(tensors: Mapping[str, torch.Tensor], file: Path) -> dict[str, Parts]:
    layers: dict[str, Parts] = {}
    for key, tensor in tensors.items():
        ending = next((one for one in _ENDINGS if key.endswith(one)), None)
        if ending is None:
            raise BadSettings(f"{file.name}: {key} is no part of a LoRA of linear layers")
        layers.setdefault(_module_name(key.removesuffix(ending)), {})[_ENDINGS[ending]] = tensor
    if not layers:
        raise BadSettings(f"{file.name}: is empty")
    return layers


def _module_name(key: str) -> str:
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _misfit(name: str, parts: Parts, modules: Mapping[str, torch.nn.Module]) -> str | None:
    layer = modules.get(name)
    if not isinstance(layer, torch.nn.Linear):
        return f"there is no linear layer {name}"
    if not {"down", "up"} <= parts.keys():
        return f"{name} has one of its two matrices"
    up, down = parts["up"], parts["down"]
    shape = (up.shape[0], down.shape[1])
    if up.shape[1] != down.shape[0] or shape != tuple(layer.weight.shape):
        return f"{name} is {tuple(layer.weight.shape)}, the file has {shape}"
    return None


def _add(layer: Any, parts: Parts) -> None:  # noqa: ANN401
    weight = layer.weight
    up, down = (parts[one].to(weight.device, torch.float32) for one in ("up", "down"))
    rank = down.shape[0]
    scale = float(parts["alpha"]) / rank if "alpha" in parts else 1.0
    with torch.no_grad():
        weight.copy_(weight.to(torch.float32) + scale * (up @ down))
