"""The port: what the runner may ask of a loaded model.

engine.prepare ▸ edit.on_card ▸ edit.finish: only what stands in the middle keeps a card.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from PIL.Image import Image, Resampling

from jobs.model import EditRequest, ServedModel

#: Called with (steps done, steps in all) after each finished step, and wherever else the edit
#: can be ended: the same pair may come again, the first ones have no step done, and a second
#: try after a lack of memory begins anew.  It may raise ``Interrupted`` to end the edit; the
#: engine then leaves no trace of it.
OnStep = Callable[[int, int], None]
#: Called where what is done before the card can be ended; may raise ``Interrupted``.
Ask = Callable[[], None]

#: In the ``info`` of a picture: the share of the values behind it that were no finite numbers.
#: Such pixels are black; where it is missing, all was finite.
NOT_FINITE: Final = "not_finite"


class Interrupted(Exception):  # an order, not a failure; no part of the error tree
    """The edit was told to end: cancelled, past its limit, or its lease lost."""


def go_on() -> None:
    """The ``Ask`` of whoever has no orders to give."""


@dataclass(frozen=True, kw_only=True)
class Edit(ABC):
    """One request, made ready for the card.

    Let go of it once it is finished: it holds what the engine made of the pictures, of the
    model's sizes and not of theirs.
    """

    request: EditRequest
    source: tuple[int, int]  #: width and height of the first picture

    @abstractmethod
    def on_card(self, on_step: OnStep) -> Image:
        """The picture, at the size that the model computes; one edit at a time on a card.

        The same request, pictures and seed on the same kind of card give the same pixels.
        Raises a subclass of ``jobs.errors.AttemptFailed``, or whatever ``on_step`` raised;
        after any of them, but ``WorkerFatal``, the next edit equals a fresh process's.
        """

    def finish(self, made: Image) -> Image:
        """``made`` at the size that the request means, which may take a second.

        ``auto`` is whatever the model made.
        """
        own = self.source if self.request.size == "source" else made.size
        size = self.request.wanted_size() or own
        return made if made.size == size else made.resize(size, Resampling.LANCZOS)


class Engine(Protocol):
    """A loaded model on one card."""

    model: ServedModel  #: name, revision and profiles, as registered in the ledger
    card: str  #: ``cpu:0`` or ``GPU-<uuid>``

    def warm_up(self) -> None:
        """Run once, so that the first job is not the slow one."""

    def prepare(
        self, pictures: Sequence[Image], request: EditRequest, *, seed: int, ask: Ask = go_on
    ) -> Edit:
        """All that ``request`` needs of RGB ``pictures`` and no card: checks, sizes, tokens.

        From any thread, also while another edit is on the card.  ``ask`` is called before each
        picture at least.  Raises a subclass of ``jobs.errors.AttemptFailed``, or whatever ``ask``
        raised.
        """

    def close(self) -> None:
        """Free the card."""


def edited(
    engine: Engine,
    pictures: Sequence[Image],
    request: EditRequest,
    *,
    seed: int,
    on_step: OnStep = lambda _done, _total: None,
) -> Image:
    """Prepared and made in one go, at the model's own size: where nobody else wants the card."""
    return engine.prepare(pictures, request, seed=seed).on_card(on_step)
