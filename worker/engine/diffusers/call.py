"""The call of the pipeline that one edit is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from jobs.model import EditRequest
from worker.engine.base import Interrupted, OnStep
from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.profiles import Profile
from worker.engine.diffusers.seen import Seen
from worker.engine.diffusers.sizes import Size


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All that decides an edit's picture, but for the pictures."""

    row: ModelRow
    request: EditRequest
    profile: Profile
    canvas: Size
    seed: int

    @property
    def steps(self) -> int:
        return self.request.steps or self.profile.steps

    @property
    def guidance(self) -> float:
        return self.request.true_cfg_scale or self.profile.guidance

    @property
    def negative(self) -> str | None:
        """It goes with guidance and only with it: else the pipeline says so in every log."""
        if not self.row.takes_negative or self.guidance <= 1:
            return None
        asked = self.request.negative
        return self.profile.negative if asked is None else asked

    @property
    def texts(self) -> tuple[str, ...]:
        """Those that are encoded."""
        texts = (self.request.instruction, self.negative)
        return tuple(text for text in texts if text is not None)


@dataclass(kw_only=True, slots=True)
class Call:
    """One edit on the card, as often as it is tried."""

    plan: Plan
    pictures: Sequence[Seen | Image.Image]
    on_step: OnStep
    done: int = 0

    def ask(self) -> None:
        self.on_step(self.done, self.plan.steps)

    def tell_alive(self) -> None:
        """A sign of life while parts are moved; an order to end waits until they are."""
        with suppress(Interrupted):
            self.ask()

    def arguments(self) -> dict[str, Any]:
        """The pipeline's, from the start.

        ``guidance_scale`` stays out where the model has none: the pipeline says so in the log
        of every call.
        """
        self.done = 0
        plan, row = self.plan, self.plan.row
        width, height = plan.canvas
        arguments: dict[str, Any] = {
            "image": list(self.pictures) if row.max_pictures > 1 else self.pictures[0],
            "prompt": plan.request.instruction,
            "width": width,
            "height": height,
            "num_inference_steps": plan.steps,
            "generator": torch.Generator("cpu").manual_seed(plan.seed),
            row.guidance: plan.guidance,
            "callback_on_step_end": self._tell,
            "callback_on_step_end_tensor_inputs": [],
            **row.arguments,
        }
        if row.area_argument is not None:
            arguments[row.area_argument] = width * height
        if plan.negative is not None:
            arguments["negative_prompt"] = plan.negative
        return arguments

    def _tell(self, _pipeline: object, index: int, _timestep: object, tensors: object) -> object:
        self.done = index + 1
        self.on_step(self.done, self.plan.steps)
        return tensors  # the pipeline reads them back
