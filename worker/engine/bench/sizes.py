"""The architecture in numbers.

``FULL`` is Qwen/Qwen-Image-Edit-2509: transformer/config.json (as quoted in
lightx2v/Qwen-Image-Lightning, commit 1828c040), text_encoder/config.json and vae/config.json of
its repository, processor/preprocessor_config.json.  20,430,401,088 parameters in the
transformer, 8.29 billion in the text encoder.  ``TINY`` runs in seconds, on a CPU too,
through the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from worker.engine.diffusers import placement
from worker.engine.diffusers.models import ModelRow, model_row

MODEL: Final = "qwen-image-edit-2509"


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    name: str
    row: ModelRow
    #: arguments of the libraries' own classes
    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    language: Mapping[str, Any]
    vision: Mapping[str, Any]
    #: pixels that the text encoder is shown, at least and at most
    shown: tuple[int, int]
    #: side of the picture that is edited
    side: int
    #: in place of the steps of a profile that has more; ``None`` keeps them
    most_steps: int | None


FULL: Final = Architecture(
    name="full",
    row=model_row(MODEL),
    transformer={
        "patch_size": 2,
        "in_channels": 64,
        "out_channels": 16,
        "num_layers": 60,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 3584,
        "axes_dims_rope": (16, 56, 56),
    },
    vae={
        "base_dim": 96,
        "z_dim": 16,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_scales": [],
        "temperal_downsample": [False, True, True],
    },
    language={
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128_000,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "type": "mrope",
            "rope_type": "default",
            "rope_theta": 1_000_000.0,
            "mrope_section": [16, 24, 24],
        },
    },
    vision={
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "in_channels": 3,
        "tokens_per_second": 2,
    },
    shown=(3_136, 12_845_056),
    side=1024,
    most_steps=None,
)


def thinned(architecture: Architecture, layers: int) -> Architecture:
    """With so many of the transformer's layers, all else as it is.

    The layers are alike, so what a lever gives shows in a few of them.
    """
    return replace(
        architecture,
        name=f"{architecture.name}, {layers} layers",
        transformer=dict(architecture.transformer) | {"num_layers": layers},
    )


_TINY_AREA: Final = 128 * 128
TINY: Final = Architecture(
    name="tiny",
    row=replace(
        model_row(MODEL),
        vae_area=_TINY_AREA,
        condition_area=_TINY_AREA,
        min_area=_TINY_AREA,
        max_area=_TINY_AREA,
        max_aspect=32,
        needs=placement.TINY,
        needs_fp8=placement.TINY,
    ),
    transformer=dict(FULL.transformer)
    | {
        "num_layers": 2,
        "attention_head_dim": 32,
        "num_attention_heads": 2,
        "joint_attention_dim": 64,
        "axes_dims_rope": (8, 12, 12),
    },
    vae=dict(FULL.vae) | {"base_dim": 8, "num_res_blocks": 1},
    language=dict(FULL.language)
    | {
        "vocab_size": 2_048,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4_096,
        "rope_parameters": dict(FULL.language["rope_parameters"]) | {"mrope_section": [4, 6, 6]},
    },
    vision=dict(FULL.vision)
    | {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 64,
        "fullatt_block_indexes": [1],
    },
    shown=(3_136, 3_200),
    side=128,
    most_steps=4,
)
