"""The guards that the promises stand on, and how each is taken away."""

from __future__ import annotations

from typing import Final

from tests.mutation.guards.attempts import BUDGET, CLAIMS, FENCES
from tests.mutation.guards.nouns import Edit, Guard
from tests.mutation.guards.queue import DISPATCH, PLANS, TURNS
from tests.mutation.guards.record import KEPT, KEYS, RECORD
from tests.mutation.guards.worker import WORKER

__all__ = ["GUARDS", "Edit", "Guard"]

GUARDS: Final = (
    *(*FENCES, *CLAIMS, *BUDGET, *KEYS, *RECORD),
    *(*DISPATCH, *KEPT, *TURNS, *WORKER, *PLANS),
)
