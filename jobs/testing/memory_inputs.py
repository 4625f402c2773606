"""What the ledger in memory knows of inputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

#: The last use of an input that a sweep was killed over.
DOOMED: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Tenant and digest.
Place = tuple[str, str]


class MemoryInputs:
    """A part of ``MemoryLedger``."""

    _now: Callable[[], datetime]
    _lock: threading.RLock
    _inputs: dict[Place, datetime]  # when each was used last
    _sizes: dict[Place, int]

    def touch_inputs(self, tenant: str, digests: Sequence[str]) -> set[str]:
        with self._lock:
            known = [one for one in digests if (tenant, one) in self._inputs]
            for one in known:
                if self._inputs[tenant, one] == DOOMED:
                    del self._inputs[tenant, one]
                else:
                    self._inputs[tenant, one] = self._now()
            return {one for one in known if (tenant, one) in self._inputs}

    def record_input(self, tenant: str, digest: str, *, size: int, media_type: str) -> None:
        if size <= 0 or not media_type:
            raise AssertionError(f"input {digest}: {size} bytes of {media_type!r}")
        with self._lock:
            self._inputs[tenant, digest] = self._now()
            self._sizes[tenant, digest] = size

    def forget_input(self, tenant: str, digest: str) -> None:
        with self._lock:
            self._inputs.pop((tenant, digest), None)
