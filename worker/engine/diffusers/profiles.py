"""How a model is run, by name: steps and guidance.  A request may override each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    name: str
    steps: int
    #: classifier-free guidance; 1 is off, and halves the work of a step
    true_cfg_scale: float
    #: what guidance leads away from; the pipeline drops guidance silently without one
    negative: str = " "


#: As the model's makers recommend (QwenLM/Qwen-Image, README, section on 2509).  The few-step
#: profiles need the Lightning weights and their scheduler, which are not loaded yet.
QWEN_IMAGE_EDIT_PLUS: Final = (Profile(name="quality", steps=40, true_cfg_scale=4.0),)

#: The small checkpoint was trained without guidance, and gains nothing from it or from more
#: steps (models/tiny/README.md).
TINY: Final = (
    Profile(name="quality", steps=8, true_cfg_scale=1.0),
    Profile(name="balanced", steps=6, true_cfg_scale=1.0),
    Profile(name="fast", steps=4, true_cfg_scale=1.0),
)
