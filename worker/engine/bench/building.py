"""A pipeline of random weights, made where it is used.

Every parameter is made on the device and in its type, so the host holds none of them.  Weights
are normal with the deviation 1 / sqrt(inputs) and norms are one, so that no layer makes its
numbers larger or smaller: whatever the depth, nothing overflows.  Equal seeds on one kind of
card make equal weights, hence equal pictures of one computation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageTransformer2DModel,
)
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from worker.engine.bench.sizes import Architecture
from worker.engine.tiny.networks import SCHEDULER
from worker.engine.tiny.tokenizer import END_OF_TEXT, END_OF_TURN, train_tokenizer

SEED: Final = 0


def dtype_of(device: str) -> torch.dtype:
    """As the engine loads: bfloat16 on a GPU, float32 on the CPU."""
    return torch.float32 if device == "cpu" else torch.bfloat16


def make_parts(architecture: Architecture, device: str) -> dict[str, Any]:
    """The arguments of the pipeline's class, by name."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = train_tokenizer(SEED)
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(**SCHEDULER),
        "vae": _made(AutoencoderKLQwenImage, architecture.vae, device),
        "text_encoder": _text_encoder(architecture, tokenizer, device),
        "tokenizer": tokenizer,
        "processor": _processor(architecture, tokenizer),
        "transformer": _made(QwenImageTransformer2DModel, architecture.transformer, device),
    }


def _made(kind: Any, sizes: Mapping[str, Any], device: str) -> Any:  # noqa: ANN401 - untyped library
    with _on(device):
        return _filled(kind(**sizes), device)


def _text_encoder(architecture: Architecture, tokenizer: Any, device: str) -> Any:  # noqa: ANN401
    """Real sizes; the special tokens are the tokenizer's, which compute does not notice."""

    def number(token: str) -> Any:  # noqa: ANN401
        return tokenizer.convert_tokens_to_ids(token)

    ends = {
        "bos_token_id": number(END_OF_TEXT),
        "eos_token_id": number(END_OF_TURN),
        "pad_token_id": number(END_OF_TEXT),
    }
    config = Qwen2_5_VLConfig(
        text_config=dict(architecture.language) | ends,
        vision_config=dict(architecture.vision),
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
        tie_word_embeddings=False,
        **ends,
    )
    with _on(device):
        return _filled(Qwen2_5_VLForConditionalGeneration(config), device)


def _processor(architecture: Architecture, tokenizer: Any) -> Any:  # noqa: ANN401
    least, most = architecture.shown
    pictures = Qwen2VLImageProcessor(
        min_pixels=least,
        max_pixels=most,
        patch_size=architecture.vision["patch_size"],
        temporal_patch_size=architecture.vision["temporal_patch_size"],
        merge_size=architecture.vision["spatial_merge_size"],
    )
    return Qwen2VLProcessor(
        tokenizer=tokenizer, image_processor=pictures, video_processor=Qwen2VLVideoProcessor()
    )


@contextmanager
def _on(device: str) -> Iterator[None]:
    """What is made in here lies on the device, its parameters in the engine's type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype_of(device))
    try:
        with torch.device(device), torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_default_dtype(before)


@torch.no_grad()
def _filled(part: Any, device: str) -> Any:  # noqa: ANN401
    numbers = torch.Generator(device).manual_seed(SEED)
    for name, parameter in part.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.squeeze().dim() < 2:
            parameter.fill_(1.0)  # a norm's
        else:
            inputs = parameter.numel() // parameter.shape[0]
            parameter.normal_(0.0, 1 / math.sqrt(inputs), generator=numbers)
    return part.requires_grad_(False).eval()  # noqa: FBT003 - torch's own call
