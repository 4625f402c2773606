"""The editor's training: text encoder and transformer together, on the shards of a folder."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from worker.engine.tiny.cases import Case, Judged, all_kinds, report
from worker.engine.tiny.networks import make_pipeline, make_text_encoder, make_transformer
from worker.engine.tiny.sizes import Sizes
from worker.engine.tiny.states import EditKind
from worker.engine.tiny.training.editing import Lesson, Noise, nothing_said
from worker.engine.tiny.training.learner import Learner, Schedule
from worker.engine.tiny.training.predicting import Predictor, start_attention, start_transformer
from worker.engine.tiny.training.progress import Progress
from worker.engine.tiny.training.reading import Reader, start_embeddings
from worker.engine.tiny.training.run import Limits, Run
from worker.engine.tiny.training.shards import LONGEST, Library
from worker.engine.tiny.training.stills import for_stills
from worker.engine.tiny.training.trying import MOST_TOKENS, Trial

#: How often a kind is met, in the order of ``EditKind``: a logo is the hardest to add.
KIND_WEIGHTS: Final = (1.5, 1.0, 0.5, 1.8)
HELD_OUT_PAIRS: Final = 128
JUDGE_SEED: Final = 77_777  # below the trained ones


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    batch: int
    rate: float
    warm_up: int = 10_000  #: samples
    seed: int = 0
    #: samples after which the rate falls, and for how many; ``None``: it stays
    cooldown: tuple[int, int] | None = None
    report_every: int = 10_000  #: samples
    judge_every: int = 100_000  #: samples
    judged: int = 8  #: cases of each kind
    compiled: bool = True  #: much faster steps, after minutes of compiling


@dataclass(kw_only=True)
class Editor:
    """What is learnt after the autoencoder.  ``folder`` holds ``vae/`` and ``tokenizer/``."""

    folder: Path
    state: Path
    sizes: Sizes
    plan: Plan
    device: str
    learner: Learner = field(init=False)

    def __post_init__(self) -> None:
        self._tokenizer = Qwen2Tokenizer.from_pretrained(self.folder / "tokenizer")
        torch.manual_seed(self.plan.seed)
        self._encoder = make_text_encoder(self.sizes, self._tokenizer)
        self._net = make_transformer(self.sizes)
        start_embeddings(self._encoder)
        start_attention(self._net)
        start_transformer(self._net, self.sizes)
        self.learner = Learner(
            {"text": self._encoder.model.to(self.device), "net": self._net.to(self.device)},
            Schedule(
                rate=self.plan.rate,
                batch=self.plan.batch,
                warm_up=self.plan.warm_up,
                cooldown=self.plan.cooldown,
            ),
            seed=self.plan.seed,
            record={"stage": "editor", "sizes": self.sizes.as_record()},
        )

    def begin(self, checkpoint: Path) -> None:
        """Take what an exported folder has learnt as a new ``state``, at no samples.

        The optimiser begins anew, hence with its warm-up.  Raises ``ValueError`` for a folder
        of other sizes.
        """
        parts: dict[str, tuple[Any, nn.Module]] = {
            "text_encoder": (Qwen2_5_VLForConditionalGeneration, self._encoder),
            "transformer": (QwenImageTransformer2DModel, self._net),
        }
        for name, (kind, module) in parts.items():
            learnt = kind.from_pretrained(checkpoint / name, dtype=torch.float32)
            try:
                module.load_state_dict(learnt.state_dict())
            except RuntimeError as error:
                raise ValueError(f"{checkpoint / name}: is of other sizes; see sizes.py") from error
        self.learner.forget()
        self.learner.save(self.state)

    def lesson(self, shards: Sequence[Path]) -> Lesson:
        return Lesson(
            reader=Reader(self._encoder, self._tokenizer, longest=LONGEST, device=self.device),
            predictor=Predictor(self._net, device=self.device),
            library=Library.read(shards, KIND_WEIGHTS, self.device),
            nothing=nothing_said(self._tokenizer, self.device),
            batch=self.plan.batch,
            compiled=self.plan.compiled,
        )

    def train(self, shards: Sequence[Path], held_out: Path, limits: Limits) -> None:
        """Goes on from ``state`` where there is one."""
        lesson = self.lesson(shards)
        checks = _Checks(editor=self, lesson=lesson, held_out=held_out)
        Run(
            learner=self.learner,
            loss=lesson.loss,
            state=self.state,
            limits=replace(limits, report_every=self.plan.report_every),
            report=checks.report,
        ).go()

    def tried(self, cases: Sequence[Case]) -> list[Judged]:
        """Cases edited by the averaged weights, and judged."""
        vae = AutoencoderKLQwenImage.from_pretrained(self.folder / "vae").to(self.device)
        trial = Trial(
            reader=Reader(self._encoder, self._tokenizer, longest=MOST_TOKENS, device=self.device),
            predictor=Predictor(self._net, device=self.device),
            vae=for_stills(vae),
            tokenizer=self._tokenizer,
            device=self.device,
        )
        self.learner.swap()
        try:
            return trial.judged(cases)
        finally:
            self.learner.swap()

    def export(self, out: Path) -> None:
        """Write the averaged weights as the engine loads them, in float16."""
        self.learner.swap()
        try:
            vae = AutoencoderKLQwenImage.from_pretrained(self.folder / "vae")
            make_pipeline(
                vae=vae.half(),
                text_encoder=copy.deepcopy(self._encoder).cpu().half(),
                tokenizer=self._tokenizer,
                transformer=copy.deepcopy(self._net).cpu().half(),
            ).save_pretrained(out)
        finally:
            self.learner.swap()


@dataclass(kw_only=True)
class _Checks:
    """Lines of the log: the loss on held-out pairs, and now and then the judge's verdict."""

    editor: Editor
    lesson: Lesson
    held_out: Path
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        library = Library.read([self.held_out], KIND_WEIGHTS, self.editor.device)
        self._batch = library.draw(np.random.default_rng(0), HELD_OUT_PAIRS)
        self._noise = Noise.draw(
            torch.Generator(self.editor.device).manual_seed(0), self._batch.target
        )

    def report(self, learner: Learner, mean_loss: float) -> None:
        learner.swap()
        errors = self.lesson.errors(self._batch, self._noise).cpu()
        learner.swap()
        kinds = self._batch.kinds.cpu()
        facts = {"loss": mean_loss, "held_out": float(errors.mean())}
        for number, kind in enumerate(EditKind):
            facts[kind.value] = float(errors[kinds == number].mean())
        plan = self.editor.plan
        if learner.samples % plan.judge_every < plan.report_every:
            facts |= self._judged()
        self.progress.line(learner.samples, facts)

    def _judged(self) -> dict[str, float]:
        """Shares of right edits of the checkpoint as it would be exported now."""
        cases = list(all_kinds(self.editor.plan.judged, JUDGE_SEED, unseen=False))
        shares: dict[str, float] = report(self.editor.tried(cases))["right_share_by_type"]
        told = {f"right_{kind}": share for kind, share in shares.items()}
        return told | {"right": sum(shares.values()) / len(shares)}
