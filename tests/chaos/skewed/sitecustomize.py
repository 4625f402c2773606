"""Found by Python at its start, in the one process whose calendar libfaketime bends.

libfaketime 0.9.10 breaks ``clock_nanosleep`` with a point in time, by which ``time.sleep`` waits:
it fails with "Invalid argument".  ``select`` waits as well, and is left alone.
"""

from __future__ import annotations

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex) -> None:
    select.select([], [], [], float(seconds))


time.sleep = _sleep  # noqa: TID251 - this is the repair
