"""One file on its way into a layer: where its content is, and what it must be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from envpack.node.model import Prefix
from envpack.pack.errors import NotPackable

CHUNK: Final = 1 << 20  # bytes held of one file at a time


class Slice(NamedTuple):
    """A part of a file that holds many: thousands of small files cost a disk more than a copy."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """``content`` is a file that is not changed until the layer is written, or the bytes."""

    path: str  #: in the layer
    content: Path | Slice | bytes
    executable: bool = False
    prefix: Prefix | None = None
    #: by its package's own record; ``None``: nobody promised what is in it
    sha256: str | None = None

    @property
    def mode(self) -> int:
        return 0o755 if self.executable else 0o644

    @property
    def size(self) -> int:
        """Bytes."""
        match self.content:
            case Path():
                return self.content.stat().st_size
            case Slice():
                return self.content.size
            case bytes():
                return len(self.content)

    def read(self) -> bytes:
        """All of it: for what is small by nature."""
        match self.content:
            case Path():
                return self.content.read_bytes()
            case Slice():
                return self.content.read()
            case bytes():
                return self.content

    def chunks(self, expected: int | None = None) -> Iterator[bytes]:
        """At most ``CHUNK`` bytes each.

        Raises ``NotPackable`` if a file is changed meanwhile, or has not ``expected`` bytes.
        """
        if not isinstance(self.content, Path):
            yield self.read()
            return
        with self.content.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if expected not in {None, before.st_size}:
                raise NotPackable(f"{self.content}: changed while it was packed; pack again")
            while chunk := file.read(CHUNK):
                yield chunk
            after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise NotPackable(f"{self.content}: changed while it was packed; pack again")
