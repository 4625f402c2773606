"""What still fits the time: each case is weighed before it is begun."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from worker.engine.bench.cases import Case
from worker.engine.diffusers.placement import Placement

WARM_PASSES: Final = 4  # two steps with guidance
#: a pass with two or three references, and at the largest area, against the usual one
WARM_CORNERS: Final = 2 * WARM_PASSES * 2.5
#: text, VAE and what lies between, in passes
AROUND: Final = 4


@dataclass(kw_only=True, slots=True)
class Costs:
    """Seconds; guessed at first, measured as the run goes on."""

    build: float
    forward: float
    compiling: float = 0.0
    offloading: float = 0.0  #: moving the weights to the host, and locking them there or back
    offloaded_forward: float = 0.0

    def of(self, case: Case, *, built: bool) -> float:
        """What the case may take, a little on the safe side."""
        forward, seconds = self.forward, 0.0 if built else self.build
        if case.placement is not Placement.RESIDENT:
            forward = max(forward, self.offloaded_forward)
            seconds += self.offloading
        passes: float = case.passes + WARM_PASSES + AROUND
        if case.profile.load.compiled and not built:
            seconds += self.compiling * (2 if case.profile.load.autotuned else 1)
            passes += WARM_CORNERS
        return seconds + 1.1 * passes * forward


def guessed(device: str) -> Costs:
    """As measured on one H200; a CPU has the tiny sizes."""
    if device == "cpu":
        return Costs(build=2.0, forward=0.05)
    return Costs(build=5.0, forward=0.4, compiling=30.0, offloading=110.0, offloaded_forward=0.8)


class Budget:
    """``minutes`` from now on."""

    def __init__(
        self, minutes: float, *, costs: Costs, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.costs = costs
        self._clock = clock
        self._ends = clock() + 60 * minutes

    @property
    def left(self) -> float:
        """Seconds; negative when it is over."""
        return self._ends - self._clock()

    def refusal(self, case: Case, *, built: bool) -> str | None:
        """Why the case is not begun, if it is not."""
        needed = self.costs.of(case, built=built)
        if needed <= self.left:
            return None
        return f"time: needs about {needed:.0f} s, {max(self.left, 0):.0f} s are left"
