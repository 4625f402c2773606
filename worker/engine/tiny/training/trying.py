"""Held-out cases edited in batches: what the engine makes, at a third of the work.

The training's way through the three networks, in float32, with the scheduler's own steps and
the noise that the engine draws: a test holds its pictures to the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image
from torch import Tensor

from worker.engine.tiny.cases import Case, Judged
from worker.engine.tiny.judge import judge
from worker.engine.tiny.networks import SCHEDULER
from worker.engine.tiny.sizes import LATENT_CHANNELS, PATCH
from worker.engine.tiny.training.editing import time_shift
from worker.engine.tiny.training.predicting import GRID, Predictor
from worker.engine.tiny.training.reading import Reader, tokens_after_picture
from worker.engine.tiny.training.shards import shrunk
from worker.engine.tiny.training.stills import (
    decode,
    encode,
    from_bytes,
    normalised,
    pack,
    unnormalised,
    unpack,
)

STEPS: Final = 8  # the small checkpoint's, by the models' table
MOST_TOKENS: Final = 96  #: tokens after the picture
BATCH: Final = 32


@dataclass(frozen=True, kw_only=True)
class Trial:
    reader: Reader
    predictor: Predictor
    vae: Any  #: for stills
    tokenizer: Any
    device: str

    def judged(self, cases: Sequence[Case]) -> list[Judged]:
        parts = [cases[start : start + BATCH] for start in range(0, len(cases), BATCH)]
        return [
            Judged(case=case, verdict=judge(picture, case.scene, case.edit))
            for part in parts
            for case, picture in zip(part, self.edited(part), strict=True)
        ]

    def edited(self, cases: Sequence[Case]) -> list[Image.Image]:
        """One batch; pictures of 128 x 128."""
        pictures = np.stack([np.asarray(case.scene.picture()) for case in cases])
        shown = torch.from_numpy(pictures).to(self.device)
        with torch.no_grad():
            source = pack(normalised(self.vae, encode(self.vae, from_bytes(shown))))
            text, see = self._read(shown, [case.instruction for case in cases])
            noise = torch.cat([noise_of(case.number) for case in cases]).to(self.device)
            latents = unpack(self._stepped(noise, source, (text, see)))
            made = decode(self.vae, unnormalised(self.vae, latents)).clamp(-1, 1)
        values = ((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return [Image.fromarray(one) for one in values]

    def _read(self, shown: Tensor, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Prompt embeddings, and which of them are no padding."""
        tokens = tokens_after_picture(self.tokenizer, instructions)
        ids = torch.full((len(tokens), MOST_TOKENS), self.tokenizer.pad_token_id)
        for row, one in zip(ids, tokens, strict=True):
            row[: len(one)] = torch.tensor(one)
        lengths = torch.tensor([len(one) for one in tokens])
        text = self.reader.embed(shrunk(shown), ids.to(self.device))
        return text, self.reader.mask(lengths.to(self.device), MOST_TOKENS)

    def _stepped(self, made: Tensor, source: Tensor, read: tuple[Tensor, Tensor]) -> Tensor:
        """From noise to the target's tokens, (batch, 64, 64)."""
        scheduler = FlowMatchEulerDiscreteScheduler(**SCHEDULER)
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / STEPS, STEPS), mu=time_shift())
        for moment in scheduler.timesteps:
            sigma = (moment / scheduler.config.num_train_timesteps).expand(len(made))
            velocity = self.predictor.predict(made, source, *read, sigma.to(self.device))
            made = scheduler.step(velocity, moment, made, return_dict=False)[0]
        return made


def noise_of(seed: int) -> Tensor:
    """As the pipeline draws it, in tokens (1, 64, 64)."""
    side = GRID * PATCH
    shape = (1, LATENT_CHANNELS, side, side)
    return pack(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))
