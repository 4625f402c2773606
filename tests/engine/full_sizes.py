"""The real model's parts as the engine holds them, without their weights: only sizes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from worker.engine.bench.sizes import FULL
from worker.engine.diffusers.placement import GIB
from worker.engine.diffusers.repairs import drop_head

BF16 = 2  # bytes


def full_parts() -> dict[str, torch.nn.Module]:
    configured = Qwen2_5_VLConfig(
        text_config=dict(FULL.language) | {"pad_token_id": 0},
        vision_config=dict(FULL.vision),
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        parts = {
            "transformer": QwenImageTransformer2DModel(**FULL.transformer),
            "text_encoder": Qwen2_5_VLForConditionalGeneration(configured),
            "vae": AutoencoderKLQwenImage(**FULL.vae),
        }
    drop_head(parts["text_encoder"])
    return parts


def peak_gib(compute: Callable[[], object]) -> float:
    """The most that the tensors made by ``compute`` hold at once; of fake ones as well."""
    made = _Made()
    with made:
        compute()
    return made.peak / GIB


class _Made(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, function: Any, *call: Any) -> Any:  # noqa: ANN401
        _types, arguments, choices = call
        result = function(*arguments, **(choices or {}))
        for one in tree_leaves(result):
            # What wraps others has a size in name only: its parts are counted.
            if not is_traceable_wrapper_subclass(one) and isinstance(one, torch.Tensor):
                self._note(one.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata  # noqa: SLF001 - what tells storages apart
        if key in self._alive:
            return
        self._alive.add(key)
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self._now -= size
