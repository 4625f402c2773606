"""Where a model's parts live: on the card, or in host memory until they are needed.

    resident        all on the card                       fastest
    model-offload   one part at a time on the card        seconds more a picture
    group-offload   a few layers at a time on the card    the weights are copied for each pass

None of them changes a pixel by itself; blocks are compiled in the first alone, which rounds
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.errors import BadSettings

AUTO: Final = "auto"
GIB: Final = 1024**3
MIB: Final = 1024**2


class Placement(StrEnum):
    """From the most memory on the card to the least."""

    RESIDENT = "resident"
    MODEL_OFFLOAD = "model-offload"
    GROUP_OFFLOAD = "group-offload"


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """Free memory that the card must have for up to three references at 1 MP, in GiB."""

    resident: float
    model_offload: float
    group_offload: float | None  #: ``None``: it cannot be placed so

    def of(self, placement: Placement) -> float | None:
        gib: float | None = getattr(self, placement.name.lower())
        return gib

    @property
    def ladder(self) -> tuple[Placement, ...]:
        """The placements that there are, from the most memory on the card to the least."""
        return tuple(one for one in Placement if self.of(one) is not None)

    def below(self, placement: Placement) -> Placement | None:
        following = self.ladder[self.ladder.index(placement) + 1 :]
        return following[0] if following else None


#: On an H200 torch reserved (docs/benchmarks.md): resident 58.5 GiB in a warm-up that saw three
#: references, and apart from them the largest picture, 55.1 in an edit of one; model-offload 40.0
#: in an edit of one; group-offload 4.7, with three references 6.3.  CUDA's own comes to these.
QWEN_BF16: Final = Needs(resident=60.0, model_offload=44.0, group_offload=8.0)
#: Resident: 47.6 GiB reserved in the same warm-up.  Model-offload is derived: the transformer with
#: its rounded layers 27.5 GiB, and 6.0 for a request.  No group-offload: a rounded transformer is
#: made on the card, and whether the library's hooks can stream its layers was never seen.
QWEN_FP8: Final = Needs(resident=50.0, model_offload=34.0, group_offload=None)
#: Derived from the weights: transformer 22.2 GiB, text encoders 9.1, VAE 0.2.
FLUX_KONTEXT: Final = Needs(resident=36.0, model_offload=26.0, group_offload=6.0)
#: About 13 GB by its makers' card; the rest is derived.
FLUX2_KLEIN: Final = Needs(resident=14.0, model_offload=10.0, group_offload=4.0)
#: The small checkpoint; 30 MB of weights and their work.
TINY: Final = Needs(resident=1.0, model_offload=0.5, group_offload=0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A choice, and why it was made: one line of the log."""

    placement: Placement
    why: str
    #: what the card would have had room for, were all of it free; ``None``: nothing better
    missed: Placement | None = None

    def facts(self) -> Mapping[str, str]:
        return MappingProxyType({"placement": self.placement.value, "why": self.why})


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """Of one card, in GiB."""

    free: float
    total: float


def choose(asked: str, needs: Needs, room: Room | None) -> Placed:
    """The placement for a card with so much room; ``None`` stands for the CPU.

    What was asked for by name is done, fit or not.  Raises ``BadSettings`` when not even the
    smallest fits, and for a placement that these weights cannot have.
    """
    if room is None:
        return Placed(placement=Placement.RESIDENT, why="the CPU has one memory")
    if asked != AUTO:
        return _as_asked(Placement(asked), needs)
    placement = _largest(needs, room.free)
    if placement is None:
        raise BadSettings(
            f"the card has {room.free:.1f} GiB free, the smallest placement needs"
            f" {needs.of(needs.ladder[-1]):g}: free it, take a larger card, or name a placement in"
            " PACKSHOT_PLACEMENT to try"
        )
    best = _largest(needs, room.total)
    return Placed(
        placement=placement,
        why=f"{room.free:.1f} GiB of the card are free, {placement.value} needs"
        f" {needs.of(placement):g}",
        missed=best if best is not placement else None,
    )


def _largest(needs: Needs, gib: float) -> Placement | None:
    return next((one for one in needs.ladder if gib >= (needs.of(one) or 0.0)), None)


def _as_asked(placement: Placement, needs: Needs) -> Placed:
    if placement not in needs.ladder:
        raise BadSettings(
            f"PACKSHOT_PLACEMENT: this load of the model can be placed as"
            f" {', '.join(needs.ladder)}, not as {placement.value}"
        )
    return Placed(placement=placement, why="as the settings say")
