"""Port: immutable blobs in a bucket, named by key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from jobs.model import ArtifactKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """An object as the bucket lists it; ``at`` is when it was written, by the store's clock."""

    key: ArtifactKey
    bytes: int
    at: datetime


class ArtifactStore(Protocol):
    """Pictures by key.  A key is written once, with one content: by digest or by attempt.

    All methods raise ``Unavailable`` when the store does not answer or refuses us.
    """

    def put(self, key: ArtifactKey, data: bytes, *, media_type: str) -> None:
        """Durable and readable by everybody when it returns; never half there."""

    def get(self, key: ArtifactKey) -> bytes:
        """Raises ``NoSuchArtifact``."""

    def exists(self, key: ArtifactKey) -> bool: ...

    def delete(self, keys: Sequence[ArtifactKey]) -> None:
        """Deleting what is not there is no error."""

    def keys(self, prefix: str) -> Iterator[ArtifactKey]:
        """In no promised order."""

    def stored(self, prefix: str) -> Iterator[Stored]:
        """In no promised order."""

    def link(self, key: ArtifactKey, *, expires: timedelta, download_as: str | None = None) -> str:
        """A URL that anybody may GET for a while; whether the key exists is not checked."""
