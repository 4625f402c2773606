"""The port: what the runner may ask of a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from PIL.Image import Image

from jobs.model import EditRequest, ServedModel

#: Called with (steps done, steps in all) after each finished step, and wherever else the edit
#: can be ended: the same pair may come again, the first ones have no step done, and a second
#: try after a lack of memory begins anew.  It may raise ``Interrupted`` to end the edit; the
#: engine then leaves no trace of it.
OnStep = Callable[[int, int], None]

#: In the ``info`` of a picture: the share of the values behind it that were no finite numbers.
#: Such pixels are black; where it is missing, all was finite.
NOT_FINITE: Final = "not_finite"


class Interrupted(Exception):  # an order, not a failure; no part of the error tree
    """The edit was told to end: cancelled, past its limit, or its lease lost."""


class Engine(Protocol):
    """A loaded model on one card.  Not thread-safe: one call at a time."""

    model: ServedModel  #: name, revision and profiles, as registered in the ledger
    card: str  #: ``cpu:0`` or ``GPU-<uuid>``

    def warm_up(self) -> None:
        """Run once, so that the first job is not the slow one."""

    def edit(
        self, pictures: Sequence[Image], request: EditRequest, *, seed: int, on_step: OnStep
    ) -> Image:
        """Make the picture that ``request`` asks for, from RGB ``pictures``.

        At the size that the model computes: the caller scales it, where no card waits for that.
        The same arguments on the same kind of card give the same pixels.  Raises a
        subclass of ``jobs.errors.AttemptFailed``, or whatever ``on_step`` raised; after
        any of them, but ``WorkerFatal``, the next edit equals a fresh process's.
        """

    def close(self) -> None:
        """Free the card."""
