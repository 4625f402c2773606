"""An engine without a model: real pixels in and out, in milliseconds, for load and fault tests.

The same pictures, request and seed give the same pixels; another instruction or seed gives
other ones.  It says nothing about how good an edit is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageChops

from jobs.errors import OutOfResources, Permanent, WorkerFatal
from jobs.model import MAX_PICTURES, EditRequest, ServedModel, canonical_digest
from worker.engine.base import Ask, Edit, OnStep, go_on

FAKE_MODEL: Final = ServedModel(
    name="fake",
    revision="fake-1",
    profile_group="default",
    profiles=("quality", "balanced", "fast"),
)
DEFAULT_STEPS: Final = 4
NAP: Final = 6.0  # seconds
TINT: Final = 0.4  # share of the derived colour in each pixel: shows even on a grey source

#: Called before each step with the request and the step's number, from 1; 0 stands for all that
#: comes before the card.  May raise.
Fault = Callable[[EditRequest, int], None]
#: Waits so many seconds.
Wait = Callable[[float], object]


def by_word(request: EditRequest, step: int) -> None:
    """A fault that the instruction asks for: ``[hang]`` at its second step, ``[hang 1]`` sooner,
    ``[hang 0]`` before it comes on the card.

    ``[nap]`` goes on after ``NAP`` seconds.
    """
    word, _, at = request.instruction.rpartition("[")[2].rstrip("]").partition(" ")
    if str(step) != (at or "2"):
        return
    match word:
        case "hang":
            threading.Event().wait()  # as a card does: nothing ends it
        case "nap":
            threading.Event().wait(NAP)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "fatal":
            raise WorkerFatal("CUDA error: an illegal memory access was encountered")
        case "memory":
            raise OutOfResources("CUDA out of memory")
        case "permanent":
            raise Permanent("the instruction asks for it")
        case _:
            pass


class FakeEngine:
    """Turns the source's hues and tints it by a colour derived from instruction and seed.

    ``step_seconds`` is really waited in each step, through ``wait`` where one is given;
    ``close`` ends a wait.  ``fault`` may raise what a card would raise, ``fault_before`` what
    preparing would.
    """

    def __init__(  # noqa: PLR0913 - each one is a knob of a test
        self,
        *,
        card: str = "cpu:0",
        model: ServedModel | None = None,
        steps: int = DEFAULT_STEPS,
        step_seconds: float = 0.0,
        wait: Wait | None = None,
        fault: Fault | None = None,
        fault_before: Fault | None = None,
    ) -> None:
        self.model = model or FAKE_MODEL
        self.card = card
        self._steps = steps
        self._step_seconds = step_seconds
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._fault, self._fault_before = fault, fault_before

    def warm_up(self) -> None:
        """Nothing is ever cold here."""

    def prepare(
        self, pictures: Sequence[Image.Image], request: EditRequest, *, seed: int, ask: Ask = go_on
    ) -> Edit:
        if not 1 <= len(pictures) <= MAX_PICTURES:
            raise Permanent(f"pictures: 1 to {MAX_PICTURES}, got {len(pictures)}")
        if self._fault_before is not None:
            self._fault_before(request, 0)
        for _ in pictures:
            ask()
        return _FakeEdit(
            request=request, source=pictures[0].size, engine=self, pictures=pictures, seed=seed
        )

    def run(self, request: EditRequest, on_step: OnStep) -> None:
        """All that there is on this card: steps."""
        total = request.steps or self._steps
        for step in range(1, total + 1):
            self._step(request, step)
            on_step(step, total)

    def _step(self, request: EditRequest, step: int) -> None:
        if self._fault is not None:
            self._fault(request, step)
        if self._step_seconds > 0:
            self._wait(self._step_seconds)

    def close(self) -> None:
        self._closed.set()


@dataclass(frozen=True, kw_only=True)
class _FakeEdit(Edit):
    engine: FakeEngine
    pictures: Sequence[Image.Image]
    seed: int

    def on_card(self, on_step: OnStep) -> Image.Image:
        self.engine.run(self.request, on_step)
        return _paint(self.pictures, self.request, self.seed)


def _paint(pictures: Sequence[Image.Image], request: EditRequest, seed: int) -> Image.Image:
    red, green, blue, turn = _choices(pictures[1:], request, seed)
    source = pictures[0].convert("RGB")
    hue, saturation, value = source.convert("HSV").split()
    turned = Image.merge("HSV", (_turned(hue, turn), saturation, value)).convert("RGB")
    return Image.blend(turned, Image.new("RGB", turned.size, (red, green, blue)), TINT)


def _turned(hue: Image.Image, turn: int) -> Image.Image:
    return ImageChops.add_modulo(hue, Image.new("L", hue.size, turn))


def _choices(references: Sequence[Image.Image], request: EditRequest, seed: int) -> bytes:
    """Four bytes from all that decides a picture; not from size and format, as in a real model."""
    digest = canonical_digest(
        {
            "instruction": request.instruction,
            "negative": request.negative,
            "profile": request.profile,
            "steps": request.steps,
            "true_cfg_scale": request.true_cfg_scale,
            "seed": seed,
            "references": [one.convert("RGB").resize((8, 8)).tobytes().hex() for one in references],
        }
    )
    return bytes.fromhex(digest)[:4]
