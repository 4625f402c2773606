"""Steps until an amount of samples or a time is reached; saved on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from torch import Tensor

from worker.engine.tiny.training.learner import Learner, Loss

SAVE_EVERY: Final = timedelta(minutes=3)

#: Called between steps with the learner and the mean loss since its last call.
Report = Callable[[Learner, float], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """A run ends at whichever comes first; ``None``: no such limit."""

    minutes: float | None = None
    samples: int | None = None  #: in all, those of earlier runs included
    report_every: int = 2_000  #: samples

    def reached(self, samples: int, seconds: float) -> bool:
        late = self.minutes is not None and seconds >= self.minutes * 60
        return late or (self.samples is not None and samples >= self.samples)


@dataclass(kw_only=True)
class Run:
    learner: Learner
    loss: Loss
    state: Path  #: restored where it exists, saved every few minutes and at the end
    limits: Limits
    report: Report
    clock: Callable[[], float] = time.monotonic
    _losses: list[Tensor] = field(default_factory=list, init=False)

    def go(self) -> None:
        if self.state.exists():
            self.learner.restore(self.state)
        start = saved = self.clock()
        while not self.limits.reached(self.learner.samples, self.clock() - start):
            self._step()
            if self.clock() - saved >= SAVE_EVERY.total_seconds():
                self.learner.save(self.state)
                saved = self.clock()
        self.learner.save(self.state)

    def _step(self) -> None:
        before = self.learner.samples // self.limits.report_every
        self._losses.append(self.learner.step(self.loss))
        if self.learner.samples // self.limits.report_every > before:
            self.report(self.learner, self._mean_loss())

    def _mean_loss(self) -> float:
        mean = float(sum(self._losses)) / len(self._losses)
        self._losses.clear()
        return mean
