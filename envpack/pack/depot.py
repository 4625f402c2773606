"""A depot in a folder, to be filled: what is there by its name is whole, and not written again.

See docs/envpack.md for the names.  A file is written beside, synced, and renamed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from envpack.node.errors import NotThere, NotTrusted
from envpack.node.model import (
    Archive,
    LayerDocument,
    Manifest,
    Release,
    checked_digest,
    parsed,
    spelt,
)


class Part:
    """A file on its way into a depot."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file

    def keep_as(self, place: Path) -> None:
        """On the disk and whole when it returns."""
        self.file.flush()
        os.fsync(self.file.fileno())
        place.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(place)
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class DepotFolder:
    """One folder.  Several may write into it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._remove_abandoned_parts()

    @contextmanager
    def part(self) -> Iterator[Part]:
        """Not kept: removed."""
        self._parts.mkdir(parents=True, exist_ok=True)
        path = self._parts / f"{os.getpid()}-{secrets.token_hex(4)}"
        try:
            with path.open("xb") as file:
                yield Part(path, file)
        finally:
            path.unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def put(self, name: str, data: bytes) -> None:
        """Whatever was there before is replaced at once."""
        if self.has(name) and self.read(name) == data:
            return
        with self.part() as part:
            part.file.write(data)
            part.keep_as(self.folder / name)

    def read(self, name: str) -> bytes:
        """Raises ``NotThere``."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError as fault:
            raise NotThere(f"{self.folder}: holds no {name}") from fault

    def put_manifest(self, manifest: Manifest) -> str:
        """Its digest: the layer's name."""
        data = spelt(manifest.as_json())
        digest = sha256(data).hexdigest()
        self.put(f"manifests/{digest}.json", data)
        return digest

    def manifest(self, digest: str) -> Manifest:
        """Raises ``NotThere``, ``NotTrusted`` for other content than its name says."""
        data = self.read(f"manifests/{checked_digest('manifest', digest)}.json")
        if sha256(data).hexdigest() != digest:
            raise NotTrusted(f"{self.folder}/manifests/{digest}.json: holds something else")
        return Manifest.from_json(parsed(f"{self.folder}/manifests/{digest}.json", data))

    def document(self, digest: str) -> LayerDocument | None:
        """Of a layer; ``None``: not packed yet."""
        name = f"layers/{digest}.json"
        if not self.has(name):
            return None
        return LayerDocument.from_json(self._json(name))

    def add_archives(self, kind: str, digest: str, *archives: Archive) -> str:
        """Names them in the layer's document; the document's name in the depot."""
        known = self.document(digest)
        there = known.archives if known else ()
        every = sorted({*there, *archives}, key=lambda one: (one.base or "", one.sha256))
        name = f"layers/{digest}.json"
        self.put(name, spelt(LayerDocument(kind, digest, tuple(every)).as_json()))
        return name

    def archive_path(self, archive: Archive) -> Path:
        return self.folder / "archives" / archive.name

    def releases(self) -> list[Release]:
        """By counter."""
        names = sorted(path.name for path in (self.folder / "releases").glob("*.json"))
        found = [Release.from_json(self._json(f"releases/{name}")) for name in names]
        return sorted(found, key=lambda release: release.counter)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Nobody else makes a release meanwhile: who comes second waits, and counts on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def _parts(self) -> Path:
        return self.folder / "parts"

    def _remove_abandoned_parts(self) -> None:
        for path in self._parts.glob("*-*"):
            if not Path("/proc", path.name.partition("-")[0]).exists():
                with suppress(FileNotFoundError):
                    path.unlink()

    def _json(self, name: str) -> Any:  # noqa: ANN401 - any JSON
        return parsed(f"{self.folder}/{name}", self.read(name))
