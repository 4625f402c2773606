"""The engine: one loaded pipeline on one card, behind the port ``worker.engine.base.Engine``."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import torch
from PIL import Image

from jobs.errors import OutOfResources, Permanent
from jobs.model import EditRequest, ServedModel
from worker.engine.base import OnStep
from worker.engine.diffusers.faults import failure_of
from worker.engine.diffusers.models import ModelRow, model_row
from worker.engine.diffusers.pipeline import load_pipeline, picture_areas, template_tokens
from worker.engine.diffusers.profiles import Profile
from worker.engine.diffusers.revision import folder_revision
from worker.engine.diffusers.sizes import plan_output

PROFILE_GROUP: Final = "default"  # none of the profiles needs another load


class DiffusersEngine:
    """Edits pictures with a model that diffusers loads.  Make one with ``load``.

    The same arguments on the same kind of card give the same pixels: the noise is drawn on
    the CPU, and the VAE takes the mode of its distribution.  Not thread-safe.
    """

    def __init__(
        self,
        pipeline: Any,  # noqa: ANN401 - untyped library
        row: ModelRow,
        *,
        card: str,
        revision: str,
    ) -> None:
        self.card = card
        self.model = ServedModel(
            name=row.name,
            revision=revision,
            profile_group=PROFILE_GROUP,
            profiles=tuple(profile.name for profile in row.profiles),
        )
        self._pipeline = pipeline
        self._row = row

    @classmethod
    def load(cls, folder: Path, *, card: str, model: str, threads: int | None = None) -> Self:
        """Load ``folder`` as the model of that name, without the network.

        ``card`` is ``cpu:0`` or a GPU, which must be the only one the process sees.
        ``threads`` sets how many of the CPU's the whole process computes with.  Raises
        ``BadSettings`` for an unknown model or a folder that holds another.
        """
        row = model_row(model)
        if threads is not None:
            torch.set_num_threads(threads)
        device = "cpu" if card.startswith("cpu") else "cuda"
        pipeline = load_pipeline(folder, row, device)
        return cls(pipeline, row, card=card, revision=folder_revision(folder))

    def warm_up(self) -> None:
        """One edit of a grey picture at the model's own area, in as few steps as it takes."""
        request = EditRequest(
            pictures=("0" * 64,),
            instruction="make it white",
            model=self._row.name,
            profile=self._row.profiles[0].name,
            steps=self._row.min_steps,
        )
        self.edit([Image.new("RGB", (64, 64), "gray")], request, seed=0, on_step=_tell_nobody)

    def edit(
        self, pictures: Sequence[Image.Image], request: EditRequest, *, seed: int, on_step: OnStep
    ) -> Image.Image:
        self._check(pictures, request)
        plan = plan_output(self._row, request, pictures[0].size)
        arguments = self._arguments(request, on_step) | {
            "image": list(pictures),
            "width": plan.canvas[0],
            "height": plan.canvas[1],
            "generator": torch.Generator("cpu").manual_seed(seed),
        }
        picture = self._run(arguments)
        if picture.size != plan.final:
            picture = picture.resize(plan.final, Image.Resampling.LANCZOS)
        return picture

    def close(self) -> None:
        del self._pipeline
        _free_cache()

    def _check(self, pictures: Sequence[Image.Image], request: EditRequest) -> None:
        """Refuse what the pipeline would choke on, or take without doing it."""
        row = self._row
        if not 1 <= len(pictures) <= row.max_pictures:
            raise Permanent(f"pictures: 1 to {row.max_pictures}, got {len(pictures)}")
        for number, picture in enumerate(pictures, start=1):
            _check_picture(number, picture, row.max_aspect)
        self._check_text("instruction", request.instruction)
        if request.negative is not None:
            self._check_text("negative", request.negative)

    def _check_text(self, what: str, text: str) -> None:
        for mark in self._pipeline.tokenizer.get_added_vocab():
            if mark in text:
                raise Permanent(f"{what}: contains {mark}, which marks parts of the template")
        template = template_tokens(self._pipeline, "")
        tokens = template_tokens(self._pipeline, text) - template
        window = self._row.max_tokens - template
        if tokens > window:
            raise Permanent(f"{what}: at most {window} tokens, got {tokens}; say it shorter")

    def _profile(self, name: str) -> Profile:
        for profile in self._row.profiles:
            if profile.name == name:
                return profile
        raise Permanent(f"profile: one of {', '.join(self.model.profiles)}, got {name!r}")

    def _arguments(self, request: EditRequest, on_step: OnStep) -> dict[str, Any]:
        """The pipeline's arguments that say how to run.

        ``guidance_scale`` stays out: this model has none, and the pipeline says so in the log
        of every call.  A negative prompt goes with guidance and only with it, for the same
        reason.
        """
        profile = self._profile(request.profile)
        steps = request.steps or profile.steps
        guidance = request.true_cfg_scale or profile.true_cfg_scale

        def tell(_pipeline: object, index: int, _timestep: object, tensors: object) -> object:
            on_step(index + 1, steps)
            return tensors  # the pipeline reads them back

        arguments: dict[str, Any] = {
            "prompt": request.instruction,
            "num_inference_steps": steps,
            self._row.guidance: guidance,
            "callback_on_step_end": tell,
            "callback_on_step_end_tensor_inputs": [],
        }
        if guidance > 1:
            negative = request.negative
            arguments["negative_prompt"] = profile.negative if negative is None else negative
        return arguments

    def _run(self, arguments: dict[str, Any]) -> Image.Image:
        try:
            return self._call(arguments)
        except (MemoryError, RuntimeError) as error:
            failure = failure_of(error)
            if failure is None:
                raise
        # Outside the handler: the traceback, which held the tensors, is gone.
        if isinstance(failure, OutOfResources):
            _free_cache()
        raise failure

    def _call(self, arguments: dict[str, Any]) -> Image.Image:
        with picture_areas(self._pipeline, self._row):
            try:
                picture: Image.Image = self._pipeline(**arguments).images[0]
            except BaseException:
                # The pipeline does it only at a good end: offloaded parts would stay where
                # they are, and step caches would leak into the next edit.
                self._pipeline.maybe_free_model_hooks()
                raise
        return picture


def _check_picture(number: int, picture: Image.Image, max_aspect: int) -> None:
    if picture.mode != "RGB":
        raise Permanent(f"picture {number}: must be RGB, is {picture.mode}")
    width, height = picture.size
    if max(width, height) > max_aspect * min(width, height):
        raise Permanent(f"picture {number}: {width}x{height}, at most {max_aspect}:1 can be edited")


def _free_cache() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _tell_nobody(_done: int, _total: int) -> None:
    """Nobody waits for a warm-up's steps."""
