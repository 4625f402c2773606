"""A simulated card that keeps a record of when it was held."""

from __future__ import annotations

import json
import resource
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from jobs.model import EditRequest, ServedModel
from worker.engine.base import Ask, Edit, OnStep, go_on
from worker.engine.fake import FAKE_MODEL

STEPS: Final = 10


class SleepingCard:
    """An engine whose edit takes ``seconds`` and none of the CPU's time."""

    model: ServedModel = FAKE_MODEL

    def __init__(self, name: str, seconds: float, record: Path) -> None:
        self.card = name
        self._seconds = seconds
        self._record = record
        self._held: list[tuple[float, float]] = []
        self._cpu_before = 0.0  #: of starting up

    def warm_up(self) -> None:
        """Nothing is ever cold here."""

    def prepare(
        self, pictures: Sequence[Image.Image], request: EditRequest, *, seed: int, ask: Ask = go_on
    ) -> Edit:
        ask()
        picture = pictures[0]
        return _Nap(request=request, source=picture.size, card=self, picture=picture, seed=seed)

    def sleep(self, on_step: OnStep) -> None:
        if not self._held:
            self._cpu_before = _cpu_s()
        began = time.time()
        for step in range(1, STEPS + 1):
            wait(self._seconds / STEPS)
            on_step(step, STEPS)
        self._held.append((began, time.time()))

    def close(self) -> None:
        """Write down when the card was held, and what the process cost since its first job."""
        record = {
            "held": self._held,
            "cpu_s": _cpu_s() - self._cpu_before,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        self._record.write_text(json.dumps(record))


@dataclass(frozen=True, kw_only=True)
class _Nap(Edit):
    card: SleepingCard
    picture: Image.Image
    seed: int

    def on_card(self, on_step: OnStep) -> Image.Image:
        self.card.sleep(on_step)
        mirrored = Image.Transpose.FLIP_LEFT_RIGHT
        return self.picture.transpose(mirrored) if self.seed % 2 else self.picture


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)
