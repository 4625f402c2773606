"""When something last happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Pulse:
    """One thread beats, others ask."""

    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def beat(self) -> None:
        self._last = self.clock()

    @property
    def age(self) -> float:
        """Seconds since the last beat, or since the beginning."""
        return self.clock() - self._last
