"""The autoencoder's lesson: crops come back as they were, from latents that are easy to edit.

Two things beside the pictures' error make editing easier.  The decoder sees noisy latents,
so that an edit's small errors stay small.  And the first three channels are the mean colour
of their 8 x 8 pixels, so that another colour is another number, not another code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worker.engine.tiny.sizes import FACTOR, LATENT_CHANNELS, Sizes
from worker.engine.tiny.training.learner import Learner, Schedule
from worker.engine.tiny.training.pictures import OTHER_SHARE, draw_pool, random_crops
from worker.engine.tiny.training.progress import Progress, say
from worker.engine.tiny.training.run import Limits, Run
from worker.engine.tiny.training.stills import (
    decode,
    encode,
    for_videos,
    from_bytes,
    in_batches,
    untrained,
)

NOISE: Final = 0.15  # of a latent's deviation, at most; uniform over a batch's pictures
COLOUR_WEIGHT: Final = 0.5
SQUARE_WEIGHT: Final = 2.0
COLOURS: Final = 3  # channels that are red, green and blue
POOL: Final = 6_000  # pictures
HELD_OUT: Final = 96  # pictures
COOLDOWN_SHARE: Final = 0.6  # of all samples: the rate falls over the last ones
RATE: Final = 1.5e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class How:
    device: str
    compiled: bool = True  #: much faster steps, after a minute of compiling
    pool: int = POOL


class Autoencoder:
    """``samples`` is the whole length of its training: the learning rate falls towards it."""

    def __init__(self, sizes: Sizes, *, samples: int, batch: int, how: How) -> None:
        torch.manual_seed(0)
        self._vae = untrained(sizes).to(how.device)
        self._batch, self._how = batch, how
        start = int(samples * (1 - COOLDOWN_SHARE))
        self.learner = Learner(
            {"vae": self._vae},
            Schedule(
                rate=RATE, batch=batch, warm_up=100 * batch, cooldown=(start, samples - start)
            ),
            seed=0,
            record={"stage": "autoencoder", "sizes": sizes.as_record(), "samples": samples},
        )
        self._limits = Limits(samples=samples)
        self._progress = Progress()
        self._through = torch.compile(self._coded) if how.compiled else self._coded

    def train(self, folder: Path, minutes: float | None) -> bool:
        """Goes on from ``folder/autoencoder.pt``; ends with ``folder/vae``.  True: it is done."""
        self._pool = draw_pool(self._how.pool, 0).to(self._how.device)
        self._held_out = draw_pool(HELD_OUT, 1)[int(HELD_OUT * OTHER_SHARE) :]
        limits = Limits(minutes=minutes, samples=self._limits.samples, report_every=1_600)
        run = Run(
            learner=self.learner,
            loss=self.loss,
            state=folder / "autoencoder.pt",
            limits=limits,
            report=self._report,
        )
        run.go()
        finished = self.learner.samples >= (self._limits.samples or 0)
        if finished:
            self.save(folder / "vae")
        return finished

    def loss(self, numbers: np.random.Generator, random: torch.Generator) -> Tensor:
        crops = from_bytes(random_crops(self._pool, numbers, self._batch))
        side, device = crops.shape[-1] // FACTOR, crops.device
        shape = (self._batch, LATENT_CHANNELS, side, side)
        noise = torch.randn(shape, generator=random, device=device)
        noise *= NOISE * torch.rand(self._batch, 1, 1, 1, generator=random, device=device)
        with torch.autocast(device.type, torch.bfloat16):
            latents, made = self._through(crops, noise)
        return _error(made.float(), crops) + COLOUR_WEIGHT * _colour_error(latents.float(), crops)

    def save(self, folder: Path) -> None:
        """Write the averages as the real class's folder, with the latents' mean and deviation."""
        self.learner.swap()
        with torch.no_grad():
            chosen = self._pool[torch.arange(0, len(self._pool), 12)]
            parts = [encode(self._vae, from_bytes(part)) for part in in_batches(chosen, 32)]
        latents = torch.cat(parts).float()
        self._vae.register_to_config(
            latents_mean=latents.mean((0, 2, 3)).tolist(),
            latents_std=latents.std((0, 2, 3)).tolist(),
        )
        for_videos(self._vae).save_pretrained(folder)
        say(f"{folder.name}: {self._vae.config.latents_std}")

    def _coded(self, crops: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        latents = encode(self._vae, crops)
        deviation = latents.detach().float().std((0, 2, 3), keepdim=True)
        return latents, decode(self._vae, latents + noise * deviation)

    def _report(self, learner: Learner, mean_loss: float) -> None:
        facts: dict[str, Any] = {"loss": mean_loss}
        if learner.samples // 8_000 > (learner.samples - 1_600) // 8_000:
            learner.swap()
            facts["psnr_db"] = self._psnr()
            learner.swap()
        self._progress.line(learner.samples, facts)

    def _psnr(self) -> float:
        """Of held-out products, in dB."""
        with torch.no_grad():
            pictures = from_bytes(self._held_out).to(self._how.device)
            made = torch.cat(
                [decode(self._vae, encode(self._vae, part)) for part in in_batches(pictures, 16)]
            )
        squares = ((made.clamp(-1, 1) - pictures) ** 2).mean((1, 2, 3)) / 4
        return float((-10 * squares.log10()).mean())


def _error(made: Tensor, wanted: Tensor) -> Tensor:
    off = made - wanted
    return off.abs().mean() + SQUARE_WEIGHT * off.square().mean()


def _colour_error(latents: Tensor, pictures: Tensor) -> Tensor:
    means = functional.avg_pool2d(pictures, FACTOR)
    return functional.mse_loss(latents[:, :COLOURS], means)
