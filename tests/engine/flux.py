"""Tiny random checkpoints of the FLUX models: their real classes in their folders' layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers

#: Of both VAEs: four levels, hence the factor 8.
_VAE: Final = {
    "sample_size": 32,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (4,) * 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 1,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
_CHAT: Final = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_kontext(folder: Path, tokenizer: Any) -> None:  # noqa: ANN401 - untyped library
    torch.manual_seed(0)
    words = len(tokenizer)
    tokenizer.model_max_length = 77  # CLIP's
    clip = transformers.CLIPTextConfig(
        vocab_size=words,
        hidden_size=32,
        intermediate_size=32,
        num_attention_heads=4,
        num_hidden_layers=1,
        projection_dim=32,
        bos_token_id=0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    t5 = transformers.T5Config(
        vocab_size=words, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4
    )
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
        guidance_embeds=True,
    )
    diffusers.FluxKontextPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=diffusers.AutoencoderKL(
            **_VAE, latent_channels=1, shift_factor=0.1, scaling_factor=1.5
        ),
        text_encoder=transformers.CLIPTextModel(clip),
        tokenizer=tokenizer,
        text_encoder_2=transformers.T5EncoderModel(t5),
        tokenizer_2=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)


def write_klein(folder: Path, tokenizer: Any) -> None:  # noqa: ANN401
    torch.manual_seed(0)
    tokenizer.chat_template = _CHAT
    qwen3 = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=28,  # the pipeline reads three of them by number
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
    )
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=32,
        axes_dims_rope=[4, 4, 4, 4],
        guidance_embeds=False,
    )
    diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=diffusers.AutoencoderKLFlux2(**_VAE, latent_channels=4),
        text_encoder=transformers.Qwen3ForCausalLM(qwen3),
        tokenizer=tokenizer,
        transformer=transformer,
        is_distilled=True,
    ).save_pretrained(folder)
