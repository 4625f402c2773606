"""Lines of a training's log: one fact after the other, to read and to count."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping


class Progress:
    """Writes samples, samples a second since the last line, and what else is given."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[int, float] | None = None

    def start(self, samples: int) -> None:
        """From here the speed counts."""
        self._last = (samples, self._clock())

    def line(self, samples: int, facts: Mapping[str, float]) -> None:
        now = self._clock()
        speed = 0.0
        if self._last is not None:
            speed = (samples - self._last[0]) / max(now - self._last[1], 1e-9)
        told = " ".join(f"{name}={value:.4g}" for name, value in facts.items())
        say(f"samples={samples} per_second={speed:.1f} {told}")
        self.start(samples)


def say(text: str) -> None:
    """A line that a file shows at once."""
    sys.stdout.write(time.strftime("%H:%M:%S ") + text + "\n")
    sys.stdout.flush()
