"""The transformer's and the text encoder's lesson: from noise and the source to the target.

Flow matching, as the scheduler steps: at ``sigma`` a latent is (1 - sigma) target + sigma
noise, and what is predicted is noise - target.  Early steps decide what is edited, so high
sigmas come more often.  Tokens that the edit changes weigh more: a logo covers one or two of
sixty-four.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from worker.engine.tiny.networks import SCHEDULER
from worker.engine.tiny.training.predicting import TOKENS, Predictor
from worker.engine.tiny.training.reading import Reader
from worker.engine.tiny.training.shards import LONGEST, Batch, Library, fitted

#: share of samples at sigma 1, where the first step of an edit stands
FIRST_STEP_SHARE: Final = 0.15
#: of the others: sigma before the shift is a logistic of a normal number
SIGMA_MEAN: Final = 0.6
SIGMA_DEVIATION: Final = 1.2
#: share of samples without an instruction
UNSAID_SHARE: Final = 0.05
#: weight of a token that changes; the others' is 1.  Then a sample's mean weight is made 1
CHANGED_WEIGHT: Final = 4.0
#: mean difference of a token's values from where on it counts as wholly changed
CHANGED: Final = 0.25


#: ids, shape (1, 44), and how many of them are no padding
Instruction = tuple[Tensor, int]


def nothing_said(tokenizer: Any, device: str) -> Instruction:  # noqa: ANN401 - untyped library
    """The engine's negative prompt, a blank."""
    ids, lengths = fitted(tokenizer, [" "])
    return torch.from_numpy(ids.astype(np.int64)).to(device), int(lengths[0])


def time_shift() -> float:
    """The pipeline's ``mu`` for pictures of 128 x 128."""
    low, high, least, most = (
        float(SCHEDULER[name])
        for name in ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
    )
    return least + (TOKENS - low) * (most - least) / (high - low)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What is random about a sample beside the pair."""

    sigma: Tensor  #: (batch,)
    values: Tensor  #: (batch, 64, 64)

    @classmethod
    def draw(cls, random: torch.Generator, like: Tensor) -> Noise:
        batch, device = len(like), random.device
        normal = torch.randn(batch, generator=random, device=device)
        before = torch.sigmoid(normal * SIGMA_DEVIATION + SIGMA_MEAN)
        stretch = math.exp(time_shift())
        sigma = stretch * before / (1 + (stretch - 1) * before)
        first = torch.rand(batch, generator=random, device=device) < FIRST_STEP_SHARE
        sigma = sigma.masked_fill(first, 1.0)
        values = torch.randn(like.shape, generator=random, device=device)
        return cls(sigma=sigma, values=values)


class Lesson:
    """Losses of batches from a library."""

    def __init__(  # noqa: PLR0913 - what a loss is made of
        self,
        *,
        reader: Reader,
        predictor: Predictor,
        library: Library,
        nothing: Instruction,
        batch: int,
        compiled: bool,
    ) -> None:
        self._reader, self._predictor = reader, predictor
        self._library, self._nothing, self._batch = library, nothing, batch
        self._learning = (
            torch.compile(self._velocity, dynamic=False) if compiled else self._velocity
        )

    def loss(self, numbers: np.random.Generator, random: torch.Generator) -> Tensor:
        batch = self._unsaid(self._library.draw(numbers, self._batch), numbers)
        return self._errors(batch, Noise.draw(random, batch.target), self._learning).mean()

    def _unsaid(self, batch: Batch, numbers: np.random.Generator) -> Batch:
        """Some instructions replaced by none: what guidance leads away from."""
        drawn = torch.from_numpy(numbers.random(len(batch.ids)) < UNSAID_SHARE)
        unsaid = drawn.to(batch.ids.device)
        ids, length = self._nothing
        return replace(
            batch,
            ids=torch.where(unsaid[:, None], ids, batch.ids),
            lengths=batch.lengths.masked_fill(unsaid, length),
        )

    def errors(self, batch: Batch, noise: Noise) -> Tensor:
        """The loss of each sample, not compiled and without gradients."""
        with torch.no_grad():
            return self._errors(batch, noise, self._velocity)

    def _errors(self, batch: Batch, noise: Noise, velocity: Any) -> Tensor:  # noqa: ANN401
        sigma = noise.sigma[:, None, None]
        noisy = batch.target + sigma * (noise.values - batch.target)
        with torch.autocast(noisy.device.type, torch.bfloat16):
            made = velocity(
                noisy, batch.source, batch.thumbnails, batch.ids, batch.lengths, noise.sigma
            )
        off = (made.float() - (noise.values - batch.target)).square().mean(-1)
        errors: Tensor = (off * token_weights(batch)).mean(-1)
        return errors

    def _velocity(  # noqa: PLR0913, PLR0917 - tensors, which a compiled function takes one by one
        self,
        noisy: Tensor,
        source: Tensor,
        thumbnails: Tensor,
        ids: Tensor,
        lengths: Tensor,
        sigma: Tensor,
    ) -> Tensor:
        text = self._reader.embed(thumbnails, ids)
        see = self._reader.mask(lengths, LONGEST)
        return self._predictor.predict(noisy, source, text, see, sigma)


def token_weights(batch: Batch) -> Tensor:
    """Shape (batch, tokens), mean 1 over each sample's."""
    apart = (batch.target - batch.source).abs().mean(-1)
    weights = 1 + (CHANGED_WEIGHT - 1) * (apart / CHANGED).clamp(max=1)
    return weights / weights.mean(-1, keepdim=True)
