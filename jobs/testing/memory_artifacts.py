"""``jobs.artifacts.ArtifactStore`` in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from jobs.artifacts import Stored
from jobs.errors import NoSuchArtifact
from jobs.model import ArtifactKey
from jobs.testing.memory_rows import utc_now


class MemoryArtifacts:
    """Thread-safe.  Its links lead nowhere, but say what was asked for."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._blobs: dict[ArtifactKey, tuple[bytes, str]] = {}
        self._written: dict[ArtifactKey, datetime] = {}

    def put(self, key: ArtifactKey, data: bytes, *, media_type: str) -> None:
        with self._lock:
            self._blobs[key] = bytes(data), media_type
            self._written[key] = self._now()

    def get(self, key: ArtifactKey) -> bytes:
        return self._blob(key)[0]

    def media_type(self, key: ArtifactKey) -> str:
        """Not of the port: what a browser would be told."""
        return self._blob(key)[1]

    def exists(self, key: ArtifactKey) -> bool:
        with self._lock:
            return key in self._blobs

    def delete(self, keys: Sequence[ArtifactKey]) -> None:
        with self._lock:
            for key in keys:
                self._blobs.pop(key, None)

    def stored(self, prefix: str) -> Iterator[Stored]:
        with self._lock:
            return iter(
                [
                    Stored(key=key, bytes=len(data), at=self._written[key])
                    for key, (data, _) in self._blobs.items()
                    if key.startswith(prefix)
                ]
            )

    def keys(self, prefix: str) -> Iterator[ArtifactKey]:
        return (one.key for one in self.stored(prefix))

    def link(self, key: ArtifactKey, *, expires: timedelta, download_as: str | None = None) -> str:
        query = {"expires": str(int(expires.total_seconds()))}
        if download_as is not None:
            query["download_as"] = download_as
        return f"memory://artifacts/{quote(key)}?{urlencode(query)}"

    def _blob(self, key: ArtifactKey) -> tuple[bytes, str]:
        with self._lock:
            if key not in self._blobs:
                raise NoSuchArtifact(f"the store holds no {key}")
            return self._blobs[key]
