"""Source pictures on their way in: read, checked, hashed, and uploaded once each."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

from jobs import pictures
from jobs.artifacts import ArtifactStore
from jobs.errors import InvalidRequest, UnusablePicture
from jobs.ledger import Ledger
from jobs.model import input_key

#: For so many seconds nobody is told again that an input is used: far less than any sweep waits.
REMEMBERED: Final = 600.0
MOST: Final = 100_000  # pictures remembered; a server lives for long


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture by its path, or by its bytes and a name for error messages.

    The path may be its text.  Raises ``InvalidRequest`` where it has neither, or both.
    """

    name: str
    path: Path | None = None
    data: bytes | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.data is None):
            raise InvalidRequest(f"{self.name}: a Picture has a path or data, one of them")
        if not isinstance(self.data, bytes | None):
            raise InvalidRequest(f"{self.name}: data: bytes, got {type(self.data).__name__}")
        if not isinstance(self.path, PathLike | str | None):
            raise InvalidRequest(f"{self.name}: path: a path, got {type(self.path).__name__}")
        if self.path is not None:
            object.__setattr__(self, "path", Path(self.path))

    @classmethod
    def at(cls, path: PathLike[str] | str) -> Picture:
        return cls(name=str(path), path=Path(path))

    def read(self) -> bytes:
        """Raises ``UnusablePicture``, naming the file."""
        if self.data is not None:
            return self.data
        assert self.path is not None, "a Picture has a path or data"
        try:
            return pictures.read_file(self.path)
        except UnusablePicture:
            if "://" not in self.name:
                raise
            text = f"{self.name}: an address, not a file; download the picture first"
            raise UnusablePicture(text) from None


class Inputs:
    """Stores one tenant's inputs; thread-safe.

    It remembers which files and contents it has stored, for a while: nobody reads, hashes or
    uploads the same picture thousands of times.
    """

    def __init__(
        self,
        ledger: Ledger,
        artifacts: ArtifactStore,
        tenant: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger = ledger
        self.artifacts = artifacts
        self.tenant = tenant
        self._clock = clock
        self._digests: dict[tuple[object, ...], str] = {}  # by what tells a file
        self._stored: dict[str, float] = {}  # by digest: when
        self._turns: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def store(self, picture: Picture) -> str:
        """The digest under which the picture is durable.

        Raises ``UnusablePicture`` before anything is uploaded, ``Unavailable`` if ledger
        or bucket do not answer.
        """
        identity = _identity(picture)
        digest = self._digests.get(identity) if identity else None
        if digest is not None and self._is_stored(digest):
            return digest
        data = picture.read()
        digest = hashlib.sha256(data).hexdigest()
        if not self._is_stored(digest):
            with self._turn(digest):  # of several threads with the same picture, one uploads it
                if not self._is_stored(digest):
                    self._upload(picture, data, digest)
                    self._remember(identity, digest)
        elif identity:
            self._digests[identity] = digest
        return digest

    def _remember(self, identity: tuple[object, ...] | None, digest: str) -> None:
        if len(self._stored) >= MOST:
            self._stored.clear()
            self._digests.clear()
        self._stored[digest] = self._clock()
        if identity:
            self._digests[identity] = digest

    def _is_stored(self, digest: str) -> bool:
        at = self._stored.get(digest)
        return at is not None and self._clock() - at < REMEMBERED

    @contextmanager
    def _turn(self, digest: str) -> Iterator[None]:
        with self._lock:
            turn = self._turns.setdefault(digest, threading.Lock())
        with turn:
            yield
        with self._lock:
            self._turns.pop(digest, None)

    def _upload(self, picture: Picture, data: bytes, digest: str) -> None:
        # Marked as used first, so that no sweep deletes what we are about to count on.
        if digest in self.ledger.touch_inputs(self.tenant, [digest]):
            return
        info = pictures.inspect(data, name=picture.name)
        key = input_key(self.tenant, digest)
        self.artifacts.put(key, data, media_type=info.media_type)
        self.ledger.record_input(self.tenant, digest, size=len(data), media_type=info.media_type)


def _identity(picture: Picture) -> tuple[object, ...] | None:
    """What tells that a file is still the one we stored a moment ago."""
    if picture.path is None:
        return None
    try:
        stat = picture.path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return str(picture.path), stat.st_size, stat.st_mtime_ns, stat.st_ino
