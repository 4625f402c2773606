"""The engine: one loaded pipeline on one card, behind the port ``worker.engine.base.Engine``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image

from jobs.errors import AttemptFailed, OutOfResources, Permanent, Transient, WorkerFatal
from jobs.model import EditRequest, ServedModel
from worker.engine.base import Ask, Edit, OnStep, edited, go_on
from worker.engine.diffusers import host
from worker.engine.diffusers.call import Call, Plan
from worker.engine.diffusers.checks import Words, check_reach, check_request
from worker.engine.diffusers.compiling import (
    Shape,
    all_is_compiled,
    graphs_compiled,
    is_compiled,
    nothing_is_compiled,
    shapes_to_warm,
)
from worker.engine.diffusers.faults import failure_of
from worker.engine.diffusers.models import ModelRow, model_row
from worker.engine.diffusers.offer import (
    Offer,
    accept_licence,
    check_compiler,
    is_to_compile,
    name_compiler,
    offered,
)
from worker.engine.diffusers.phases import Phases, asking_before
from worker.engine.diffusers.pipeline import Report, load_pipeline, read_index
from worker.engine.diffusers.placement import AUTO, GIB, MIB, Placed, Placement, choose
from worker.engine.diffusers.placing import (
    card_peak_mib,
    forget_card_peak,
    free_unused,
    place,
    room_on,
)
from worker.engine.diffusers.profiles import Precision, Profile
from worker.engine.diffusers.repairs import noise_of_the_seed, picture_areas
from worker.engine.diffusers.revision import folder_revision
from worker.engine.diffusers.seen import Seen, see
from worker.engine.diffusers.sizes import canvas_of, seen_size

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a worker's settings say about loading."""

    profiles: tuple[str, ...] = ()  #: none: all that need no other load than the first
    placement: str = AUTO
    licences: tuple[str, ...] = ()  #: models whose limited licence was accepted
    compiled: bool = True  #: where a profile's load says so
    memory: Path | None = None  #: where the digests of weights are remembered


class DiffusersEngine:
    """Edits pictures with a model that diffusers loads.  Make one with ``load``.

    The same arguments on the same kind of card give the same pixels: the noise is drawn on
    the CPU, and the VAE takes the mode of its distribution.
    """

    def __init__(  # noqa: PLR0913 - what was loaded, and how
        self,
        pipeline: Any,  # noqa: ANN401 - untyped library
        row: ModelRow,
        *,
        card: str,
        revision: str,
        offer: Offer | None = None,
        placement: Placement = Placement.RESIDENT,
        smaller: Placement | None = None,
    ) -> None:
        self._offer = offer or Offer(load=row.profiles[0].load, profiles=row.profiles)
        self.card = card
        self.model = ServedModel(
            name=row.name,
            revision=revision,
            profile_group=self._offer.load.group,
            profiles=tuple(profile.name for profile in self._offer.profiles),
        )
        self.placement = placement
        self._smaller = smaller
        self._pipeline = pipeline
        self._row = row
        self._phases = Phases(pipeline)
        self._words = Words(pipeline, row)
        self._preparing = threading.Lock()  # a tokenizer is not for two threads
        self._is_compiled = is_compiled(pipeline.transformer)
        self._may_compile = False

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        card: str,
        model: str,
        threads: int | None = None,
        options: Options | None = None,
    ) -> Self:
        """Load ``folder`` as the model of that name, without the network.

        ``card`` is ``cpu:0`` or a GPU, which must be the only one the process sees.
        ``threads`` sets how many of the CPU's the whole process computes with.  Raises
        ``BadSettings`` for an unknown model, a folder that holds another or lacks a file of a
        profile that was asked for, or libraries that this engine was not written for.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        return cls.load_row(folder, model_row(model), card=card, options=options or Options())

    @classmethod
    def load_row(cls, folder: Path, row: ModelRow, *, card: str, options: Options) -> Self:
        began = time.monotonic()
        accept_licence(row, options.licences)
        offer = offered(row, folder, options.profiles)
        if not options.compiled:
            offer = offer.uncompiled()
        parts = read_index(folder, row)
        device = "cpu" if card.startswith("cpu") else "cuda"
        needs = row.needs_at(offer.load.precision)
        placed = choose(options.placement, needs, room_on(device))
        _warn_of_others(placed)
        if is_to_compile(offer.load, placed.placement, device):
            check_compiler(offer)
            name_compiler()
        if offer.load.precision is Precision.BF16:  # rounded ones take less, and who knows how much
            host.check_room(folder, parts, placed.placement)
        # Files that are not as they should be are refused before 58 GB of them are loaded.
        revision = folder_revision(folder, lora=offer.load.lora, memory=options.memory)
        report = Report(device=device)
        pipeline = load_pipeline(
            folder, row, device, load=offer.load, placement=placed.placement, report=report
        )
        engine = cls(
            pipeline,
            row,
            card=card,
            revision=revision,
            offer=offer,
            placement=placed.placement,
            # A CPU has none: what is offloaded to the host would be where it was.
            smaller=needs.below(placed.placement) if device == "cuda" else None,
        )
        engine._tell_loaded(placed, report, time.monotonic() - began)
        return engine

    def _tell_loaded(self, placed: Placed, report: Report, seconds: float) -> None:
        facts = {
            "model": self.model.name,
            "revision": self.model.revision,
            "group": self.model.profile_group,
            "profiles": self.model.profiles,
            "compiled": self._is_compiled,
            "seconds": seconds,
            "parts": report.parts,
        }
        if self.placement is not Placement.RESIDENT:
            facts["locked_mib"] = round(host.gib_locked(self._pipeline) * GIB / MIB)
        log.info("model_loaded", extra=facts | dict(placed.facts()))

    def warm_up(self) -> None:
        """Edit grey pictures in as few steps as it takes; compiled blocks see all corners.

        After it nothing is compiled any more: a request of another shape runs uncompiled.  Raises
        ``BadSettings`` where the compiler fails.
        """
        began = time.monotonic()
        shapes = shapes_to_warm(self._row, compiled=self._is_compiled)
        self._may_compile = True
        try:
            for shape in shapes:
                self._warm(shape)
        finally:
            self._may_compile = False
        facts = {"shapes": len(shapes), "seconds": round(time.monotonic() - began, 2)}
        if self._is_compiled:
            facts["graphs"] = graphs_compiled()
        log.info("warmed_up", extra=facts)

    def _warm(self, shape: Shape) -> None:
        request = EditRequest(
            pictures=("0" * 64,) * shape.pictures,
            instruction="make it white",
            model=self._row.name,
            profile=self.model.profiles[0],
            steps=self._row.min_steps,
            size=shape.size,
        )
        pictures = [Image.new("RGB", (64, 64), "gray")] * shape.pictures
        edited(self, pictures, request, seed=0)

    def prepare(
        self, pictures: Sequence[Image.Image], request: EditRequest, *, seed: int, ask: Ask = go_on
    ) -> Edit:
        """Besides what the port says: ``OutOfResources`` where the host has no memory for it."""
        try:
            with self._preparing:
                return self._prepared(pictures, request, seed, ask)
        except (MemoryError, RuntimeError) as error:
            failure = failure_of(error)
            if failure is None:
                raise
        raise failure  # its frames, which held the pictures, are gone

    def _prepared(
        self, pictures: Sequence[Image.Image], request: EditRequest, seed: int, ask: Ask
    ) -> Edit:
        row, source = self._row, pictures[0].size if pictures else (0, 0)
        check_request(self._words, row, pictures, request)
        plan = Plan(
            row=row,
            request=request,
            profile=self._profile(request.profile),
            canvas=canvas_of(row, request, source),
            seed=seed,
        )
        check_reach(self._words, row, plan.canvas, pictures, request)
        seen: Sequence[Seen | Image.Image] = (
            see(self._pipeline, row, pictures, plan.texts, ask)
            if row.sees_pictures
            else [_own_aspect(row, picture) for picture in asking_before(ask, pictures)]
        )
        return _Edit(request=request, source=source, engine=self, plan=plan, pictures=seen)

    def run(self, call: Call) -> Image.Image:
        """The part of an edit that is the card's."""
        forget_card_peak(self._device)
        picture = self._run_or_retry(call)
        if peak := card_peak_mib(self._device):
            facts = {"canvas": call.plan.canvas, "pictures": len(call.pictures)}
            log.info("card_used", extra=peak | facts)
        return picture

    def close(self) -> None:
        del self._pipeline, self._phases
        _free_cache()

    def _profile(self, name: str) -> Profile:
        for profile in self._offer.profiles:
            if profile.name == name:
                return profile
        raise Permanent(f"profile: one of {', '.join(self.model.profiles)}, got {name!r}")

    def _run_or_retry(self, call: Call) -> Image.Image:
        """Once; and once more with less of the model on the card, if memory was short."""
        failure = self._tried(call)
        if isinstance(failure, OutOfResources) and (smaller := self._retried_as(failure)):
            with self._placed(smaller, call):
                failure = self._tried(call)
        if isinstance(failure, AttemptFailed):
            raise failure
        return failure

    def _retried_as(self, failure: OutOfResources) -> Placement | None:
        """A process that takes more of the host's memory than there is gets killed."""
        if self._smaller is None:
            return None
        more = host.gib_more(self._pipeline, self.placement, self._smaller)
        lacking, facts = host.gib_lacking(more), {"why": str(failure)}
        if lacking:
            facts["not_retried"] = (
                f"{self._smaller.value} takes {more:.1f} GiB more of the host's memory, which has"
                f" {lacking:.1f} too little for that"
            )
        else:
            facts["retried_as"] = self._smaller.value
        log.warning("out_of_memory", extra=facts)
        return None if lacking else self._smaller

    @contextmanager
    def _placed(self, placement: Placement, call: Call) -> Iterator[None]:
        """For one edit: the next one is likely to fit again, and is much faster so."""
        self._place(placement, call, for_one_edit=True)
        try:
            yield
        finally:
            _free_cache()
            self._place(self.placement, call)
            _free_cache()  # what was locked in the host for the smaller placement

    def _place(self, placement: Placement, call: Call, *, for_one_edit: bool = False) -> None:
        device, tell = self._device, call.tell_alive
        try:
            place(self._pipeline, placement, device, tell=tell, for_one_edit=for_one_edit)
        except (MemoryError, RuntimeError) as error:
            # Half here, half there: nothing that this process makes can be trusted.
            raise WorkerFatal(f"the model could not be placed as {placement}: {error}") from error

    @property
    def _device(self) -> str:
        return "cpu" if self.card.startswith("cpu") else "cuda"

    def _tried(self, call: Call) -> Image.Image | AttemptFailed:
        """The picture, or what became of the card."""
        try:
            return self._run(call)
        except (MemoryError, RuntimeError) as error:
            failure = failure_of(error)
            if failure is None:
                raise
        # Outside the handler: the traceback, which held the tensors, is gone.
        if isinstance(failure, OutOfResources):
            _free_cache()
        return failure

    def _run(self, call: Call) -> Image.Image:
        with ExitStack() as during:
            during.enter_context(self._compiling())
            during.enter_context(picture_areas(self._pipeline, self._row))
            during.enter_context(noise_of_the_seed(self._pipeline))
            during.enter_context(self._phases.asking(call.ask))
            try:
                picture: Image.Image = self._pipeline(**call.arguments()).images[0]
            except BaseException:
                # The pipeline does it only at a good end: offloaded parts would stay where
                # they are, and step caches would leak into the next edit.
                self._pipeline.maybe_free_model_hooks()
                raise
        if self._pipeline.interrupt:
            # Steps were skipped, and what was left of the noise was decoded all the same.
            raise Transient("the pipeline was interrupted from outside: its picture is none")
        return picture

    def _compiling(self) -> AbstractContextManager[None]:
        """Nothing, while a job waits for it."""
        if not self._is_compiled:
            return nullcontext()
        return all_is_compiled() if self._may_compile else nothing_is_compiled()


@dataclass(frozen=True, kw_only=True)
class _Edit(Edit):
    engine: DiffusersEngine
    plan: Plan
    pictures: Sequence[Seen | Image.Image]

    def on_card(self, on_step: OnStep) -> Image.Image:
        return self.engine.run(Call(plan=self.plan, pictures=self.pictures, on_step=on_step))


def _free_cache() -> None:
    """Raises ``WorkerFatal`` where the card no longer answers, which often shows here first."""
    try:
        free_unused()
    except RuntimeError as error:
        raise WorkerFatal(f"the card's memory could not be freed: {error}") from error


def _warn_of_others(placed: Placed) -> None:
    """A card that another process holds for a moment costs this one its speed for good."""
    if placed.missed is not None:
        log.warning(
            "card_not_free",
            extra={
                "placement": placed.placement.value,
                "why": f"{placed.why}; with all of the card {placed.missed.value} would fit: end"
                " what else is on it, and start this worker again",
            },
        )


def _own_aspect(row: ModelRow, picture: Image.Image) -> Image.Image:
    """At the size that the transformer sees it: FLUX's pipelines would not keep its aspect."""
    return picture.resize(seen_size(row, picture.size), Image.Resampling.LANCZOS)
