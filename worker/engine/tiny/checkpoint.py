"""A small checkpoint of random weights: the architecture and layout of Qwen-Image-Edit-2509.

Every class is the real one; only the sizes are small.  What the code around the model
depends on is kept: the VAE's factor 8 and 16 channels, the transformer's patch of 2, the
template's 64 tokens, and the scheduler's whole configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
import transformers
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from worker.engine.tiny.tokenizer import END_OF_TEXT, END_OF_TURN, train_tokenizer

TEXT_WIDTH: Final = 64
HEAD_WIDTH: Final = 32
CONTEXT: Final = 4_096  # positions of text
PATCH: Final = 14  # pixels of the text encoder's patches; four of them are one token
#: Pictures are shown to the text encoder at 4 x 4 patches, hence as four tokens.  The limit
#: lies a little above: exactly 56 x 56 is rounded down to one token.
VISION_SIDE: Final = 4 * PATCH
VISION_SLACK: Final = 64

#: scheduler/scheduler_config.json of Qwen/Qwen-Image-Edit-2509
SCHEDULER: Final = {
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "invert_sigmas": False,
    "max_image_seq_len": 8192,
    "max_shift": 0.9,
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "shift_terminal": 0.02,
    "stochastic_sampling": False,
    "time_shift_type": "exponential",
    "use_beta_sigmas": False,
    "use_dynamic_shifting": True,
    "use_exponential_sigmas": False,
    "use_karras_sigmas": False,
}


def write_checkpoint(folder: Path, *, seed: int = 0) -> None:
    """Write the folder, about 5 MB; equal seeds write equal weights.

    The caller's random state is left as it was.
    """
    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = _pipeline(seed)
    pipeline.save_pretrained(folder)


def _pipeline(seed: int) -> Any:  # noqa: ANN401 - untyped library
    tokenizer = train_tokenizer(seed)
    return QwenImageEditPlusPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
        vae=AutoencoderKLQwenImage(
            base_dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=1, **_unscaled_latents()
        ),
        text_encoder=_text_encoder(tokenizer),
        tokenizer=tokenizer,
        processor=_processor(tokenizer),
        transformer=QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=64,
            out_channels=16,
            num_layers=2,
            attention_head_dim=HEAD_WIDTH,
            num_attention_heads=2,
            joint_attention_dim=TEXT_WIDTH,
            axes_dims_rope=(8, 12, 12),
        ),
    )


def _unscaled_latents() -> dict[str, list[float]]:
    """Nothing was measured on a random VAE."""
    return {"latents_mean": [0.0] * 16, "latents_std": [1.0] * 16}


def _text_encoder(tokenizer: Any) -> Any:  # noqa: ANN401 - untyped library
    ids = {
        "bos_token_id": tokenizer.convert_tokens_to_ids(END_OF_TEXT),
        "eos_token_id": tokenizer.convert_tokens_to_ids(END_OF_TURN),
        "pad_token_id": tokenizer.convert_tokens_to_ids(END_OF_TEXT),
    }
    config = Qwen2_5_VLConfig(
        text_config=_language(len(tokenizer)) | ids,
        vision_config=_vision(),
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=True,
        **ids,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _language(vocabulary: int) -> dict[str, Any]:
    heads = TEXT_WIDTH // HEAD_WIDTH
    return {
        "vocab_size": vocabulary,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 2 * TEXT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        # Half a head's width, parted between time, height and width.
        "rope_parameters": {
            "type": "mrope",
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [4, 6, 6],
        },
    }


def _vision() -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": TEXT_WIDTH,
        "patch_size": PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [1],
        "in_channels": 3,
        "tokens_per_second": 2,
    }


def _processor(tokenizer: Any) -> Any:  # noqa: ANN401 - untyped library
    pictures = Qwen2VLImageProcessor(
        min_pixels=VISION_SIDE**2,
        max_pixels=VISION_SIDE**2 + VISION_SLACK,
        patch_size=PATCH,
        temporal_patch_size=2,
        merge_size=2,
    )
    return Qwen2VLProcessor(
        tokenizer=tokenizer, image_processor=pictures, video_processor=Qwen2VLVideoProcessor()
    )
