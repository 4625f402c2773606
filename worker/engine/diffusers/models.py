"""What differs between the siblings that one engine serves: one row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jobs.errors import BadSettings
from worker.engine.diffusers import profiles
from worker.engine.diffusers.profiles import Profile


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """Facts of one model.  Areas are in pixels."""

    name: str
    #: class in diffusers; the module that defines it holds the two areas as constants
    pipeline: str
    #: every picture is scaled to about this area for the VAE
    vae_area: int
    #: and to about this one for the text encoder, which sees it too
    condition_area: int
    #: an output is computed no smaller and no larger; what was asked for is scaled from it
    min_area: int
    max_area: int
    #: longer side by shorter side of a picture
    max_aspect: int
    max_pictures: int
    #: the scheduler stretches its schedule between first and last step: with one step it
    #: divides by zero, and the picture is black
    min_steps: int = 2
    #: tokens of the text, the template's included
    max_tokens: int = 1024
    #: the pipeline's argument for the strength of guidance
    guidance: str
    licence: str
    profiles: tuple[Profile, ...]


_ROWS: Final = (
    ModelRow(
        name="qwen-image-edit-2509",
        pipeline="QwenImageEditPlusPipeline",
        vae_area=1024 * 1024,
        condition_area=384 * 384,
        min_area=512 * 512,
        max_area=1536 * 1536,
        max_aspect=100,  # the text encoder's processor refuses 200
        max_pictures=3,
        guidance="true_cfg_scale",
        licence="Apache-2.0",
        profiles=profiles.QWEN_IMAGE_EDIT_PLUS,
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
        guidance="true_cfg_scale",
        licence="Apache-2.0",
        profiles=profiles.TINY,
    ),
)
MODELS: Final = {row.name: row for row in _ROWS}


def model_row(name: str) -> ModelRow:
    """The row of a model; ``BadSettings`` names the known ones."""
    if name not in MODELS:
        raise BadSettings(f"model: one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name]
