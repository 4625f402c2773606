"""How a model is run, by name, and how its weights are loaded for that: the one table.

A profile says steps and guidance; a request may override both.  A load says what is done to
the weights once, at start: profiles that share a load are one group, hence one queue, and
switching between them costs nothing.  Another load is another worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import log
from types import MappingProxyType
from typing import Final

LORA_FOLDER: Final = "lora"  # beside the model's own parts, in its folder


class Precision(StrEnum):
    BF16 = "bf16"  #: on a GPU; the CPU computes in float32
    FP8 = "fp8"  #: weights and activations of the transformer's large layers; needs torchao


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What is done to the weights at start."""

    group: str = "default"
    precision: Precision = Precision.BF16
    #: a file of ``lora/`` that is added to the transformer's weights
    lora: str | None = None
    #: takes the place of these values of the scheduler's configuration
    scheduler: Mapping[str, object] = field(default_factory=dict)
    #: of diffusers' names; ``native`` is torch's own choice
    attention: str = "native"
    #: compile the transformer's repeated blocks (only where they stay on a GPU; ``compiling``)
    compiled: bool = False
    #: and let the compiler time matrix products of its own against the library's, at start
    autotuned: bool = False
    #: a VAE of films as one of single pictures (``exact``); off only to compare
    flat_vae: bool = True
    #: skip a step's later blocks while the first one's output moves less than this
    step_cache: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    name: str
    steps: int
    #: strength of guidance; 1 is off, and halves the work of a step where it is a second pass
    guidance: float
    #: what guidance leads away from; the pipeline drops guidance silently without one
    negative: str = " "
    load: Load = Load()
    #: what it may change in the picture, against the first profile of the table
    changes: str


#: ModelTC/Qwen-Image-Lightning, generate_with_diffusers.py: the few-step weights were
#: distilled on this schedule, and give grain on any other.
LIGHTNING_SCHEDULER: Final = MappingProxyType(
    {"base_shift": log(3), "max_shift": log(3), "shift_terminal": None}
)
FLUX_NEGATIVE: Final = ""  # these models take none


def _lightning(weights: str, steps: int) -> Load:
    return Load(
        group=f"lightning-{steps}",
        lora=f"{weights}-Lightning-{steps}steps-V1.0-bf16.safetensors",
        scheduler=LIGHTNING_SCHEDULER,
        compiled=True,
    )


def qwen_image_edit(*, weights: str, steps: int) -> tuple[Profile, ...]:
    """The profiles of one release; ``weights`` begins the names of its Lightning files.

    Steps and guidance of ``quality`` are its makers' (QwenLM/Qwen-Image, README).
    """
    return (
        Profile(
            name="quality",
            steps=steps,
            guidance=4.0,
            load=Load(compiled=True),
            changes="Nothing: this is the model as published.",
        ),
        Profile(
            name="balanced",
            steps=8,
            guidance=1.0,
            load=_lightning(weights, 8),
            changes="Another picture of the same edit: a seed does not carry over, dense text "
            "and hair are weaker, a negative prompt does nothing.",
        ),
        Profile(
            name="fast",
            steps=4,
            guidance=1.0,
            load=_lightning(weights, 4),
            changes="As balanced, and weaker in fine texture.",
        ),
        Profile(
            name="cached",
            steps=steps,
            guidance=4.0,
            load=Load(group="cached", step_cache=0.1),
            changes="Small details: steps that would change little are not computed whole.",
        ),
        Profile(
            name="quality-fp8",
            steps=steps,
            guidance=4.0,
            load=Load(group="fp8", precision=Precision.FP8, compiled=True),
            changes="Small details and, rarely, letters: LPIPS 0.30 to bf16 on text-to-image.",
        ),
    )


#: The small checkpoint was trained without guidance, and gains nothing from it or from more
#: steps (models/tiny/README.md).
TINY: Final = (
    Profile(name="quality", steps=8, guidance=1.0, changes="Nothing."),
    Profile(name="balanced", steps=6, guidance=1.0, changes="Edges, a little."),
    Profile(name="fast", steps=4, guidance=1.0, changes="Edges."),
)

#: Guidance is an input of this model, not a second pass: it costs nothing.
FLUX_KONTEXT: Final = (
    Profile(
        name="quality",
        steps=28,
        guidance=3.5,
        negative=FLUX_NEGATIVE,
        changes="Nothing: this is the model as published.",
    ),
)

#: Distilled to four steps; guidance is ignored, and 1 keeps the pipeline from saying so.
FLUX2_KLEIN: Final = (
    Profile(
        name="quality",
        steps=4,
        guidance=1.0,
        negative=FLUX_NEGATIVE,
        changes="Nothing: this is the model as published.",
    ),
)
