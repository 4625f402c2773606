"""What is learnt: parameters, their optimisers and averages; one step; the state on disk.

The state is one file, written beside the old one and renamed over it: whoever reads it finds
a whole one, also after SIGKILL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

#: beyond this norm gradients are scaled down
MAX_NORM: Final = 1.0
#: by how much of the way the average is behind after a step, at most
DECAY: Final = 0.999

#: the loss of a step; the generators are the step's own, the second on the learner's device
Loss = Callable[[np.random.Generator, torch.Generator], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The learning rate by samples seen: warm-up, constant; ``cooldown``: straight to zero."""

    rate: float
    batch: int
    warm_up: int  #: samples
    #: from how many samples on, and for how many, the rate falls
    cooldown: tuple[int, int] | None = None

    def share(self, samples: int) -> float:
        """Of ``rate``, at so many samples."""
        share = min(1.0, (samples + self.batch) / self.warm_up)
        if self.cooldown is not None:
            start, length = self.cooldown
            share *= max(0.0, min(1.0, 1 - (samples - start) / length))
        return share


class Learner:
    """Learns ``modules``, by name.  Equal seeds and losses learn the same, however interrupted."""

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        schedule: Schedule,
        *,
        seed: int,
        record: Mapping[str, Any],
    ) -> None:
        """``record`` says what is learnt; a state of another one is refused."""
        self.schedule = schedule
        self.samples = 0
        self.steps = 0
        self._seed = seed
        self._record = dict(record)
        self._named = {
            f"{prefix}.{name}": value
            for prefix, module in modules.items()
            for name, value in module.named_parameters()
            if value.requires_grad
        }
        self._averages = {name: value.detach().clone() for name, value in self._named.items()}
        self._optimisers = _optimisers(self._named, schedule.rate)
        self._device = next(iter(self._named.values())).device

    def step(self, loss: Loss) -> Tensor:
        """One step; its loss, not yet synchronised with the device."""
        self._set_rates()
        value = loss(*self._generators())
        for optimiser in self._optimisers:
            optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(list(self._named.values()), MAX_NORM, foreach=True)
        for optimiser in self._optimisers:
            optimiser.step()
        self.steps += 1
        self.samples += self.schedule.batch
        self._average()
        return value.detach()

    def _generators(self) -> tuple[np.random.Generator, torch.Generator]:
        numbers = np.random.default_rng([self._seed, self.steps])
        random = torch.Generator(self._device)
        return numbers, random.manual_seed(int(numbers.integers(2**62)))

    def _set_rates(self) -> None:
        rate = self.schedule.rate * self.schedule.share(self.samples)
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate

    def _average(self) -> None:
        """Young averages forget faster: they would hold the first weights otherwise."""
        decay = min(DECAY, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(  # a step's hundreds of tensors at once
                list(self._averages.values()), list(self._named.values()), 1 - decay
            )

    def forget(self) -> None:
        """Averages begin at the weights as they are now."""
        with torch.no_grad():
            for name, value in self._named.items():
                self._averages[name].copy_(value)

    def swap(self) -> None:
        """Exchange weights and averages: what is exported and judged is the average."""
        with torch.no_grad():
            for name, value in self._named.items():
                average = self._averages[name]
                kept = value.detach().clone()
                value.copy_(average)
                average.copy_(kept)

    def save(self, path: Path) -> None:
        """Atomic: the file is the old state or the new one."""
        state = {
            "record": self._record,
            "samples": self.samples,
            "steps": self.steps,
            "weights": dict(self._named),
            "averages": self._averages,
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
        }
        write_atomically(path, state)

    def restore(self, path: Path) -> None:
        """Raises ``ValueError`` for a state that learns something else."""
        state = torch.load(path, map_location=self._device, weights_only=True)
        if state["record"] != self._record:
            raise ValueError(f"{path}: holds {state['record']}, wanted is {self._record}")
        with torch.no_grad():
            for name, value in self._named.items():
                value.copy_(state["weights"][name])
                self._averages[name].copy_(state["averages"][name])
        for optimiser, saved in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.samples, self.steps = state["samples"], state["steps"]


def write_atomically(path: Path, state: object) -> None:
    """``torch.save`` that leaves the old file or the new one, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _optimisers(named: Mapping[str, nn.Parameter], rate: float) -> list[Optimizer]:
    wide = [value for value in named.values() if value.ndim > 1]
    narrow = [value for value in named.values() if value.ndim <= 1]
    groups = [
        {"params": wide, "weight_decay": 0.01},
        {"params": narrow, "weight_decay": 0.0},
    ]
    fused = wide[0].is_cuda
    return [AdamW(groups, lr=rate, betas=(0.9, 0.98), foreach=not fused, fused=fused)]
