"""Which card a process sees.  Settled before torch is imported, or not at all."""

from __future__ import annotations

import os
import sys

from jobs.errors import BadSettings


def pin(card: str) -> None:
    """Let this process see only ``card``: ``cpu:0``, ``0`` or ``GPU-<uuid>``."""
    if "torch" in sys.modules:
        raise BadSettings("the card must be chosen before torch is imported")
    visible = "" if card.startswith("cpu") else card
    os.environ["CUDA_VISIBLE_DEVICES"] = visible  # noqa: TID251 - CUDA reads nothing else
