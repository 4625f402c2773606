"""Source pictures on their way in: read, checked, hashed, and uploaded once each."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

from jobs import pictures
from jobs.artifacts import ArtifactStore
from jobs.ledger import Ledger
from jobs.model import input_key


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture by its path, or by its bytes and a name for error messages."""

    name: str
    path: Path | None = None
    data: bytes | None = None

    @classmethod
    def at(cls, path: Path | str) -> Picture:
        return cls(name=str(path), path=Path(path))

    def read(self) -> bytes:
        """Raises ``UnusablePicture``, naming the file."""
        if self.data is not None:
            return self.data
        assert self.path is not None, "a Picture has a path or data"
        return pictures.read_file(self.path)


class Inputs:
    """Stores one tenant's inputs; thread-safe, and remembers paths it has stored."""

    def __init__(self, ledger: Ledger, artifacts: ArtifactStore, tenant: str) -> None:
        self.ledger = ledger
        self.artifacts = artifacts
        self.tenant = tenant
        self._known: dict[tuple[object, ...], str] = {}
        self._lock = threading.Lock()

    def store(self, picture: Picture) -> str:
        """The digest under which the picture is durable.

        Raises ``UnusablePicture`` before anything is uploaded, ``Unavailable`` if ledger
        or bucket do not answer.
        """
        identity = _identity(picture)
        with self._lock:
            digest = self._known.get(identity) if identity else None
        if digest is None:
            digest = self._upload(picture)
            if identity:
                with self._lock:
                    self._known[identity] = digest
        return digest

    def _upload(self, picture: Picture) -> str:
        data = picture.read()
        digest = hashlib.sha256(data).hexdigest()
        # Marked as used first, so that no sweep deletes what we are about to count on.
        if digest in self.ledger.touch_inputs(self.tenant, [digest]):
            return digest
        info = pictures.inspect(data, name=picture.name)
        key = input_key(self.tenant, digest)
        self.artifacts.put(key, data, media_type=info.media_type)
        self.ledger.record_input(self.tenant, digest, size=len(data), media_type=info.media_type)
        return digest


def _identity(picture: Picture) -> tuple[object, ...] | None:
    """What tells that a file is still the one we stored a moment ago."""
    if picture.path is None:
        return None
    try:
        stat = picture.path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return str(picture.path), stat.st_size, stat.st_mtime_ns, stat.st_ino
