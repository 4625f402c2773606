"""What differs between the siblings that one engine serves: one row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from jobs.errors import BadSettings
from worker.engine.diffusers import placement, profiles
from worker.engine.diffusers.placement import Needs
from worker.engine.diffusers.profiles import Precision, Profile

MEGAPIXEL: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """Facts of one model.  Areas are in pixels."""

    name: str
    #: class in diffusers; the module that defines it holds the two areas as constants
    pipeline: str
    #: the text encoder is Qwen2.5-VL and sees the pictures, inside a fixed template
    sees_pictures: bool = True
    #: every picture is scaled to about this area for the VAE
    vae_area: int = MEGAPIXEL
    #: the pipeline would scale a larger one again, and crop it
    area_is_limit: bool = False
    #: and to about this one for the text encoder, if that sees it too
    condition_area: int = 384 * 384
    #: an output is computed no smaller and no larger; what was asked for is scaled from it
    min_area: int = 512 * 512
    max_area: int = 1536 * 1536
    #: longer side by shorter side of a picture; Qwen's own processor refuses 200
    max_aspect: int = 100
    #: shortest side of a picture
    min_side: int = 1
    max_pictures: int
    #: the scheduler stretches its schedule between first and last step: with one step it
    #: divides by zero, and the picture is black
    min_steps: int = 2
    #: tokens of the text, the template's included
    max_tokens: int = 1024
    #: the pipeline's part that counts them
    tokenizer: str = "tokenizer"
    #: the pipeline's argument for the strength of guidance
    guidance: str = "true_cfg_scale"
    #: whether a request may set it
    guidance_is_free: bool = True
    takes_negative: bool = True
    #: the pipeline would scale the canvas to its own area, were it not told ours
    area_argument: str | None = None
    #: of each call, as they are
    arguments: Mapping[str, object] = field(default_factory=dict)
    #: what the transformer's configuration must say, so that a sibling's weights are refused
    transformer: Mapping[str, object] = field(default_factory=dict)
    licence: str = "Apache-2.0"
    #: who serves it must say that he has read it (PACKSHOT_LICENCES)
    licence_is_limited: bool = False
    needs: Needs = placement.QWEN_BF16
    needs_fp8: Needs = placement.QWEN_FP8
    profiles: tuple[Profile, ...]

    def needs_at(self, precision: Precision) -> Needs:
        return self.needs_fp8 if precision is Precision.FP8 else self.needs


_ROWS: Final = (
    ModelRow(
        name="qwen-image-edit-2509",
        pipeline="QwenImageEditPlusPipeline",
        max_pictures=3,
        transformer={"zero_cond_t": False},
        profiles=profiles.qwen_image_edit(weights="Qwen-Image-Edit-2509", steps=40),
    ),
    ModelRow(
        name="qwen-image-edit-2511",
        pipeline="QwenImageEditPlusPipeline",
        max_pictures=3,
        transformer={"zero_cond_t": True},
        profiles=profiles.qwen_image_edit(weights="Qwen-Image-Edit-2511", steps=40),
    ),
    ModelRow(
        name="qwen-image-edit",
        pipeline="QwenImageEditPipeline",
        condition_area=MEGAPIXEL,  # the text encoder sees what the VAE sees
        max_pictures=1,
        transformer={"zero_cond_t": False},
        profiles=profiles.qwen_image_edit(weights="Qwen-Image-Edit", steps=50),
    ),
    ModelRow(
        name="qwen-image-edit-2509-tiny",
        pipeline="QwenImageEditPlusPipeline",
        vae_area=128 * 128,
        condition_area=128 * 128,
        min_area=128 * 128,  # it has seen no other
        max_area=128 * 128,
        max_aspect=32,  # beyond 64 the shorter side would be rounded to nothing
        max_pictures=3,
        transformer={"zero_cond_t": False},
        needs=placement.TINY,
        needs_fp8=placement.TINY,
        profiles=profiles.TINY,
    ),
    ModelRow(
        name="flux.1-kontext-dev",
        pipeline="FluxKontextPipeline",
        sees_pictures=False,
        max_aspect=16,
        max_pictures=1,
        max_tokens=512,  # T5's; CLIP sees the first 77 of its own
        tokenizer="tokenizer_2",
        guidance="guidance_scale",
        takes_negative=False,
        area_argument="max_area",
        arguments={"_auto_resize": False},  # to sizes of a list of its own, and other aspects
        transformer={"guidance_embeds": True},
        licence="FLUX.1 [dev] Non-Commercial License",
        licence_is_limited=True,
        needs=placement.FLUX_KONTEXT,
        needs_fp8=placement.FLUX_KONTEXT,
        profiles=profiles.FLUX_KONTEXT,
    ),
    ModelRow(
        name="flux.2-klein-4b",
        pipeline="Flux2KleinPipeline",
        sees_pictures=False,
        area_is_limit=True,
        max_aspect=8,  # its processor refuses more, and sides below 64
        min_side=64,
        max_pictures=3,
        max_tokens=480,  # 512 with the chat's marks around them; the pipeline cuts the rest off
        guidance="guidance_scale",
        guidance_is_free=False,
        takes_negative=False,
        needs=placement.FLUX2_KLEIN,
        needs_fp8=placement.FLUX2_KLEIN,
        profiles=profiles.FLUX2_KLEIN,
    ),
)
MODELS: Final = {row.name: row for row in _ROWS}


def model_row(name: str) -> ModelRow:
    """The row of a model; ``BadSettings`` names the known ones."""
    if name not in MODELS:
        raise BadSettings(f"model: one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name]
