"""The real model's parts as the engine holds them, without their weights: only sizes."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from worker.engine.bench.sizes import FULL
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
