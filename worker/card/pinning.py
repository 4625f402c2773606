"""Which card a process sees.  Settled before torch is imported, or not at all."""

from __future__ import annotations

import os
import re
import sys
from typing import Final

from jobs.errors import BadSettings

#: A processor, an index as ``nvidia-smi`` counts, or what its ``-L`` prints.
CARD: Final = re.compile(r"cpu:\d+|\d+|(GPU|MIG)-[0-9A-Fa-f-]+")


def check_card(card: str) -> None:
    """Raises ``BadSettings`` for what names no card anywhere."""
    if not CARD.fullmatch(card):
        raise BadSettings(f"PACKSHOT_CARD: cpu:0, an index, or GPU-<uuid>, got {card[:80]!r}")


def pin(card: str) -> None:
    """Let this process see only ``card``: ``cpu:0``, ``0`` or ``GPU-<uuid>``.

    Raises ``BadSettings``.  CUDA itself takes an unknown name for "no card at all", and
    counts the fastest card first unless told otherwise.
    """
    check_card(card)
    if "torch" in sys.modules:
        raise BadSettings("the card must be chosen before torch is imported")
    visible = "" if card.startswith("cpu") else card
    os.environ["CUDA_VISIBLE_DEVICES"] = visible  # noqa: TID251 - CUDA reads nothing else
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # noqa: TID251 - the same
