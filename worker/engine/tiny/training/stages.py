"""The stages of a training, in the order in which they need each other."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKLQwenImage
from transformers import Qwen2Tokenizer

from worker.engine.tiny.cases import TRAINED_SEEDS
from worker.engine.tiny.sizes import TRAINED
from worker.engine.tiny.tokenizer import train_tokenizer
from worker.engine.tiny.training.autoencoder import Autoencoder, How
from worker.engine.tiny.training.editor import Editor, Plan
from worker.engine.tiny.training.progress import say
from worker.engine.tiny.training.run import Limits
from worker.engine.tiny.training.shards import HELD_OUT, HELD_OUT_SEED, Writer
from worker.engine.tiny.training.stills import for_stills

HELD_OUT_FAMILIES: Final = 40
VAE_SAMPLES: Final = {"cpu": 56_000, "cuda": 400_000}
VAE_BATCH: Final = {"cpu": 16, "cuda": 64}
BATCH: Final = {"cpu": 64, "cuda": 512}
RATE: Final = {"cpu": 1.2e-3, "cuda": 2e-3}


class Stages:
    def __init__(
        self,
        *,
        folder: Path,
        device: str = "",
        threads: int = 2,
        processes: int = 1,
    ) -> None:
        """``device``: ``cpu``, ``cuda``, or empty for the better one there is."""
        torch.set_num_threads(threads)
        self._folder, self._sizes = folder, TRAINED
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._processes = processes if self._device == "cuda" else 1

    def vae(self, samples: int | None, *, minutes: float | None, batch: int | None) -> bool:
        """True: ``folder/vae`` is there."""
        if (self._folder / "vae").exists():
            return True
        trained = Autoencoder(
            self._sizes,
            samples=samples or VAE_SAMPLES[self._device],
            batch=batch or VAE_BATCH[self._device],
            how=How(device=self._device),
        )
        return trained.train(self._folder, minutes)

    def data(self, shards: int) -> None:
        """Adds what is missing of ``shards`` shards and the held-out one."""
        with ExitStack() as stack:
            writer = Writer(
                folder=self._shards,
                vae=for_stills(self._autoencoder().to(self._device)),
                tokenizer=self._tokenizer(),
                device=self._device,
                each=self._each(stack),
            )
            self._write(writer, shards)

    def _each(self, stack: ExitStack) -> Any:  # noqa: ANN401 - map, or a pool's
        if self._processes == 1:
            return map
        pool = ProcessPoolExecutor(self._processes, mp_context=get_context("spawn"))
        return partial(stack.enter_context(pool).map, chunksize=4)

    @staticmethod
    def _write(writer: Writer, shards: int) -> None:
        writer.write(HELD_OUT, HELD_OUT_SEED, HELD_OUT_FAMILIES)
        for number in range(shards):
            start = time.monotonic()
            writer.write(f"{number:04}", TRAINED_SEEDS + number)
            say(f"shard={number + 1}/{shards} seconds={time.monotonic() - start:.0f}")

    def train(self, *, minutes: float | None, batch: int | None = None) -> None:
        """Goes on at a constant rate."""
        self._train(self._editor(batch), Limits(minutes=minutes))

    def cool(self, samples: int, *, minutes: float | None, batch: int | None = None) -> None:
        """Let the rate fall to zero over so many samples, from a copy of the state.

        The state itself stays, for a longer training; a cooldown that was interrupted goes on.
        """
        start = torch.load(self._state, weights_only=True, mmap=True)["samples"]
        state = self._folder / f"cooled-{start}-{samples}.pt"
        if not state.exists():
            beside = state.with_suffix(".part")
            shutil.copyfile(self._state, beside)
            beside.replace(state)
        editor = self._editor(batch, state=state, cooldown=(start, samples))
        self._train(editor, Limits(minutes=minutes, samples=start + samples))

    def export(self, out: Path, state: Path | None = None) -> None:
        """``state``: a cooldown's, or the training's."""
        editor = self._editor(None, state=state)
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
        shards = sorted(self._shards.glob("[0-9][0-9][0-9][0-9]"))
        editor.train(shards, self._shards / HELD_OUT, limits)

    @property
    def _state(self) -> Path:
        return self._folder / "editor.pt"

    @property
    def _shards(self) -> Path:
        return self._folder / "shards"

    def _autoencoder(self) -> AutoencoderKLQwenImage:
        return AutoencoderKLQwenImage.from_pretrained(self._folder / "vae")

    def _tokenizer(self) -> Qwen2Tokenizer:
        """Trained once: later runs must give words the same numbers."""
        place = self._folder / "tokenizer"
        if not place.exists():
            beside = self._folder / "tokenizer.part"
            train_tokenizer(0).save_pretrained(beside)
            beside.replace(place)
        return Qwen2Tokenizer.from_pretrained(place)

    def _editor(
        self,
        batch: int | None,
        *,
        state: Path | None = None,
        cooldown: tuple[int, int] | None = None,
    ) -> Editor:
        return Editor(
            folder=self._folder,
            state=state or self._state,
            sizes=self._sizes,
            plan=Plan(
                batch=batch or BATCH[self._device], rate=RATE[self._device], cooldown=cooldown
            ),
            device=self._device,
        )
