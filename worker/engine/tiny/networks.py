"""The parts of Qwen-Image-Edit-2509, every class the real one, of small sizes.

What the code around the model depends on is kept: the VAE's factor 8 and 16 channels, the
transformer's patch of 2, the template's 64 tokens, and the scheduler's whole configuration.
"""

from __future__ import annotations

from typing import Any, Final

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

from worker.engine.tiny.sizes import LATENT_CHANNELS, PATCH, TOKEN_VALUES, Sizes
from worker.engine.tiny.tokenizer import END_OF_TEXT, END_OF_TURN

CONTEXT: Final = 4_096  # positions of text
TEXT_THETA: Final = 10_000.0  # of the text encoder's rotary positions
VISION_PATCH: Final = 14  # pixels of the text encoder's patches; four of them are one token
#: Pictures are shown to the text encoder at 4 x 4 patches, hence as four tokens.  The limit
#: lies a little above: exactly 56 x 56 is rounded down to one token.
VISION_SIDE: Final = 4 * VISION_PATCH
VISION_SLACK: Final = 64

#: scheduler/scheduler_config.json of Qwen/Qwen-Image-Edit-2509
SCHEDULER: Final[dict[str, Any]] = {
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


def make_pipeline(*, vae: Any, text_encoder: Any, tokenizer: Any, transformer: Any) -> Any:  # noqa: ANN401 - untyped library
    """The pipeline of these parts, as ``save_pretrained`` writes it."""
    transformers.utils.logging.disable_progress_bar()
    return QwenImageEditPlusPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        processor=_processor(tokenizer),
        transformer=transformer,
    )


def make_autoencoder(sizes: Sizes) -> Any:  # noqa: ANN401 - untyped library
    """Nothing is known of its latents yet: mean 0, deviation 1."""
    return AutoencoderKLQwenImage(
        base_dim=sizes.vae_base,
        z_dim=LATENT_CHANNELS,
        dim_mult=list(sizes.vae_multiples),
        num_res_blocks=1,
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
    )


def make_transformer(sizes: Sizes) -> Any:  # noqa: ANN401 - untyped library
    return QwenImageTransformer2DModel(
        patch_size=PATCH,
        in_channels=TOKEN_VALUES,
        out_channels=LATENT_CHANNELS,
        num_layers=sizes.layers,
        attention_head_dim=sizes.head_width,
        num_attention_heads=sizes.heads,
        joint_attention_dim=sizes.text_width,
        axes_dims_rope=sizes.rope_axes,
    )


def make_text_encoder(sizes: Sizes, tokenizer: Any) -> Any:  # noqa: ANN401 - untyped library
    ids = {
        "bos_token_id": tokenizer.convert_tokens_to_ids(END_OF_TEXT),
        "eos_token_id": tokenizer.convert_tokens_to_ids(END_OF_TURN),
        "pad_token_id": tokenizer.convert_tokens_to_ids(END_OF_TEXT),
    }
    config = Qwen2_5_VLConfig(
        text_config=_language(sizes, len(tokenizer)) | ids,
        vision_config=_vision(sizes),
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=True,
        **ids,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _language(sizes: Sizes, vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": sizes.text_width,
        "intermediate_size": 2 * sizes.text_width,
        "num_hidden_layers": sizes.text_layers,
        "num_attention_heads": sizes.text_heads,
        "num_key_value_heads": sizes.text_heads,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "type": "mrope",
            "rope_type": "default",
            "rope_theta": TEXT_THETA,
            "mrope_section": list(sizes.text_rope_axes),
        },
    }


def _vision(sizes: Sizes) -> dict[str, Any]:
    return {
        "depth": sizes.vision_layers,
        "hidden_size": sizes.vision_width,
        "intermediate_size": 2 * sizes.vision_width,
        "num_heads": sizes.vision_heads,
        "out_hidden_size": sizes.text_width,
        "patch_size": VISION_PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 8 * VISION_PATCH,
        "fullatt_block_indexes": [sizes.vision_layers - 1],
        "in_channels": 3,
        "tokens_per_second": 2,
    }


def _processor(tokenizer: Any) -> Any:  # noqa: ANN401 - untyped library
    pictures = Qwen2VLImageProcessor(
        min_pixels=VISION_SIDE**2,
        max_pixels=VISION_SIDE**2 + VISION_SLACK,
        patch_size=VISION_PATCH,
        temporal_patch_size=2,
        merge_size=2,
    )
    return Qwen2VLProcessor(
        tokenizer=tokenizer, image_processor=pictures, video_processor=Qwen2VLVideoProcessor()
    )
