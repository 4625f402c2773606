"""The names of jobs, in the order in which they were made."""

from __future__ import annotations

import os
import threading
import time
from typing import Final
from uuid import UUID

from jobs.errors import InvalidRequest
from jobs.model import Job, JobId


class _JobIds:
    """UUIDs of version 7 (RFC 9562, method 2 of its §6.2): in order within one process, so
    that jobs of one submission keep their order and the index stays dense."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> JobId:
        fresh = (time.time_ns() // 1_000_000 << 74) | int.from_bytes(os.urandom(9), "big")
        with self._lock:
            self._last = max(fresh, self._last + 1)
            count = self._last
        stamp, random_a, random_b = count >> 74, count >> 62 & 0xFFF, count & (1 << 62) - 1
        return JobId(UUID(int=stamp << 80 | 7 << 76 | random_a << 64 | 2 << 62 | random_b))


new_job_id: Final = _JobIds().next


def job_id(named: Job | JobId | str) -> JobId:
    """Of a job, its UUID, or the text of that.  Raises ``InvalidRequest``, naming what is none."""
    if isinstance(named, Job):
        return named.id
    if isinstance(named, UUID):
        return named
    try:
        return JobId(UUID(named))
    except (ValueError, AttributeError, TypeError):
        raise InvalidRequest(f"{str(named)[:80]!r} is no job id (a full UUID)") from None
