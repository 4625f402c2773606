"""The stages of a training, in the order in which they need each other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKLQwenImage
from transformers import Qwen2Tokenizer

from worker.engine.tiny.cases import TRAINED_SEEDS, all_kinds
from worker.engine.tiny.evaluate import figures, table
from worker.engine.tiny.language import Language
from worker.engine.tiny.sizes import TRAINED, Sizes
from worker.engine.tiny.tokenizer import train_tokenizer
from worker.engine.tiny.training.autoencoder import Autoencoder, How
from worker.engine.tiny.training.editor import Editor, Plan
from worker.engine.tiny.training.progress import say
from worker.engine.tiny.training.run import Limits
from worker.engine.tiny.training.shards import FAMILIES, HELD_OUT, HELD_OUT_SEED, Writer
from worker.engine.tiny.training.stills import for_stills

VAE_SAMPLES: Final = {"cpu": 56_000, "cuda": 400_000}
VAE_BATCH: Final = {"cpu": 16, "cuda": 64}
BATCH: Final = {"cpu": 64, "cuda": 512}
RATE: Final = {"cpu": 1.2e-3, "cuda": 2e-3}


@dataclass(frozen=True, kw_only=True)
class Pace:
    """``None``: the device's own, from the tables above."""

    batch: int | None = None
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Stages:
    folder: Path  #: of the state
    how: How
    sizes: Sizes = TRAINED
    families: int = FAMILIES  #: of a shard
    processes: int = 1  #: that draw

    def begin(self, checkpoint: Path) -> None:
        """Go on from an exported folder: its autoencoder and tokenizer stay as they are.

        Raises ``FileExistsError`` where a training has begun.
        """
        for name in ("vae", "tokenizer"):
            if (self.folder / name).exists():
                raise FileExistsError(f"{self.folder}: a training has begun; name another folder")
            _copied(checkpoint / name, self.folder / name)
        self._editor(Pace()).begin(checkpoint)
        say(f"{self._state}: begins with {checkpoint}")

    def vae(self, samples: int | None, *, minutes: float | None, batch: int | None) -> bool:
        """True: ``folder/vae`` is there."""
        if (self.folder / "vae").exists():
            return True
        trained = Autoencoder(
            self.sizes,
            samples=samples or VAE_SAMPLES[self.how.device],
            batch=batch or VAE_BATCH[self.how.device],
            how=self.how,
        )
        return trained.train(self.folder, minutes)

    def data(self, shards: int, *, reword: bool = False) -> None:
        """Adds what is missing of ``shards`` shards and the held-out one.

        ``reword``: and says the edits of those that are there as one would say them today.
        """
        with ExitStack() as stack:
            writer = Writer(
                folder=self._shards,
                vae=for_stills(self._autoencoder().to(self.how.device)),
                tokenizer=self._tokenizer(),
                device=self.how.device,
                each=self._each(stack),
            )
            if reword:
                self._reword(writer)
            self._write(writer, shards)

    def _each(self, stack: ExitStack) -> Any:  # noqa: ANN401 - map, or a pool's
        if self.processes == 1:
            return map
        pool = ProcessPoolExecutor(self.processes, mp_context=get_context("spawn"))
        return partial(stack.enter_context(pool).map, chunksize=4)

    def _write(self, writer: Writer, shards: int) -> None:
        writer.write(HELD_OUT, HELD_OUT_SEED, max(1, self.families // 10))
        for number in range(shards):
            start = time.monotonic()
            writer.write(f"{number:04}", TRAINED_SEEDS + number, self.families)
            say(f"shard={number + 1}/{shards} seconds={time.monotonic() - start:.0f}")

    def _reword(self, writer: Writer) -> None:
        writer.reword(HELD_OUT, HELD_OUT_SEED)
        for shard in self._written:
            writer.reword(shard.name, TRAINED_SEEDS + int(shard.name))
            say(f"shard={int(shard.name) + 1} reworded")

    def train(self, pace: Pace = Pace(), *, minutes: float | None) -> None:
        """Goes on at a constant rate."""
        self._train(self._editor(pace), Limits(minutes=minutes))

    def cool(self, samples: int, pace: Pace = Pace(), *, minutes: float | None) -> None:
        """Let the rate fall to zero over so many samples, from a copy of the state.

        The state itself stays, for a longer training; a cooldown that was interrupted goes on.
        """
        start = torch.load(self._state, weights_only=True, mmap=True)["samples"]
        state = self.folder / f"cooled-{start}-{samples}.pt"
        if not state.exists():
            beside = state.with_suffix(".part")
            shutil.copyfile(self._state, beside)
            beside.replace(state)
        editor = self._editor(pace, state=state, cooldown=(start, samples))
        self._train(editor, Limits(minutes=minutes, samples=start + samples))

    def judge(self, cases: int, languages: Sequence[Language], state: Path | None = None) -> None:
        """Print the shares of right edits, ``cases`` of each kind; ``state`` as for ``export``."""
        editor = self._editor(Pace(), state=state)
        editor.learner.restore(editor.state)
        seen, unseen = (
            editor.tried(list(all_kinds(cases, 0, unseen=new, languages=languages)))
            for new in (False, True)
        )
        say(
            f"{editor.state}: after {editor.learner.samples} samples\n"
            + table(figures(seen, unseen))
        )

    def export(self, out: Path, state: Path | None = None) -> None:
        """``state``: a cooldown's, or the training's."""
        editor = self._editor(Pace(), state=state)
        editor.learner.restore(editor.state)
        editor.export(out)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        say(f"{out}: {size / 1e6:.1f} MB after {editor.learner.samples} samples")

    def everything(self, *, minutes: float | None, shards: int) -> None:
        """All stages, within so many minutes together."""
        start = time.monotonic()

        def left() -> float | None:
            return None if minutes is None else minutes - (time.monotonic() - start) / 60

        if self.vae(None, minutes=left(), batch=None):
            self.data(shards)
            self.train(minutes=left())

    def _train(self, editor: Editor, limits: Limits) -> None:
        editor.train(self._written, self._shards / HELD_OUT, limits)

    @property
    def _state(self) -> Path:
        return self.folder / "editor.pt"

    @property
    def _written(self) -> Sequence[Path]:
        return sorted(self._shards.glob("[0-9][0-9][0-9][0-9]"))

    @property
    def _shards(self) -> Path:
        return self.folder / "shards"

    def _autoencoder(self) -> AutoencoderKLQwenImage:
        return AutoencoderKLQwenImage.from_pretrained(self.folder / "vae")

    def _tokenizer(self) -> Qwen2Tokenizer:
        """Trained once: later runs must give words the same numbers."""
        place = self.folder / "tokenizer"
        if not place.exists():
            beside = self.folder / "tokenizer.part"
            train_tokenizer(0).save_pretrained(beside)
            beside.replace(place)
        return Qwen2Tokenizer.from_pretrained(place)

    def _editor(
        self,
        pace: Pace,
        *,
        state: Path | None = None,
        cooldown: tuple[int, int] | None = None,
    ) -> Editor:
        return Editor(
            folder=self.folder,
            state=state or self._state,
            sizes=self.sizes,
            plan=Plan(
                batch=pace.batch or BATCH[self.how.device],
                rate=pace.rate or RATE[self.how.device],
                cooldown=cooldown,
                compiled=self.how.compiled,
            ),
            device=self.how.device,
        )


def _copied(folder: Path, place: Path) -> None:
    """Whole or not at all."""
    beside = place.with_suffix(".part")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(folder, beside)
    beside.replace(place)
