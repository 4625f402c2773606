"""A depot in a folder, to be filled: what is there by its name is whole, and not written again.

See docs/envpack.md for the names.  A file is written beside, synced, and renamed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from envpack.node.errors import NotThere, NotTrusted, Unsuitable
from envpack.node.host import sync_folder, writing
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
        sync_folder(place.parent)


class DepotFolder:
    """One folder.  Several may write into it at once.

    Raises ``Unsuitable`` where something else than a folder has its name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if folder.exists() and not folder.is_dir():
            raise Unsuitable(f"depot {folder}: is no folder: name another --depot")
        self._remove_abandoned_parts()

    @contextmanager
    def part(self) -> Iterator[Part]:
        """Not kept: removed.  Locked for as long as somebody writes it."""
        self._parts.mkdir(parents=True, exist_ok=True)
        path = self._parts / secrets.token_hex(8)
        try:
            with _locked(path) as file, writing(path):
                yield Part(path, file)
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder on the depot's disk, removed at the end: as a part, which it lies beside."""
        with self.part() as part:
            folder = _beside(part.path)
            try:
                folder.mkdir(mode=0o700)
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

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
            raise NotThere(
                f"depot {self.folder}: holds no {name}: name the one that has it"
            ) from fault

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
            raise NotTrusted(
                f"{self.folder}/manifests/{digest}.json: holds something else: remove it, then pack"
                " again"
            )
        return Manifest.from_json(parsed(f"{self.folder}/manifests/{digest}.json", data))

    def document(self, digest: str) -> LayerDocument | None:
        """Of a layer; ``None``: not packed yet."""
        name = f"layers/{digest}.json"
        if not self.has(name):
            return None
        return LayerDocument.from_json(self._json(name))

    def add_archives(self, kind: str, digest: str, *archives: Archive) -> str:
        """Names them in the layer's document; the document's name in the depot."""
        name = f"layers/{digest}.json"
        with self.locked():
            known = self.document(digest)
            there = known.archives if known else ()
            every = sorted({*there, *archives}, key=lambda one: (one.base or "", one.sha256))
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
    def locked(self) -> Iterator[None]:
        """Nobody else changes or signs a document meanwhile, or makes a release: who comes second
        waits, and goes on from there.  Raises ``NotThere``.
        """
        if not self.folder.is_dir():
            raise NotThere(
                f"depot {self.folder}: no such folder: name the one that was packed into"
            )
        with (self.folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def _parts(self) -> Path:
        return self.folder / "parts"

    def _remove_abandoned_parts(self) -> None:
        """By their locks: who writes one may be in a container, where process ids are others."""
        for path in self._parts.glob("*"):
            if path.is_file():
                _remove_if_abandoned(path)

    def _json(self, name: str) -> Any:  # noqa: ANN401 - any JSON
        return parsed(f"{self.folder}/{name}", self.read(name))


def _beside(part: Path) -> Path:
    return part.with_suffix(".scratch")


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """A new file that this process holds."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            yield file
            return
    with _locked(path) as file:  # taken for abandoned before it was locked
        yield file


def _remove_if_abandoned(part: Path) -> None:
    with suppress(OSError), part.open("r+b") as file:  # of locked, kept, or another user's: nothing
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(_beside(part), ignore_errors=True)
        part.unlink(missing_ok=True)
