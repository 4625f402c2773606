"""What a folder of weights is called, and whether it is whole: equal contents, equal name."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from jobs.errors import BadSettings
from jobs.model import canonical_digest
from worker.engine.diffusers.profiles import LORA_FOLDER

log = logging.getLogger(__name__)

REVISION_DIGITS: Final = 16  # hexadecimal
#: In the folder, as ``sha256sum`` writes it: files that differ from it are refused.
SUMS: Final = "SHA256SUMS"
#: A file changed this lately may change again within the same tick of its file system's
#: clock, so its digest is not remembered: seconds.
SETTLED_AFTER: Final = 2.0


def folder_revision(folder: Path, *, lora: str | None = None, memory: Path | None = None) -> str:
    """The head of the sha256 over the names, sizes and sha256 of all that is loaded.

    Of the folder ``lora/`` only that file counts.  Model cards and hidden files decide no
    pixel and are left out.  Reads every byte once: ``memory``, a folder outside, remembers
    digests by size and time of change.  Raises ``BadSettings`` naming the files that differ
    from ``SHA256SUMS``, where the folder has one.
    """
    paths = [path for path in sorted(folder.rglob("*")) if _is_loaded(path, folder, lora)]
    digests = _Digests(folder, memory)
    found = {path.relative_to(folder).as_posix(): digests.of(path) for path in paths}
    digests.remember()
    _check_sums(folder, found)
    return canonical_digest(
        [[name, (folder / name).stat().st_size, digest] for name, digest in found.items()]
    )[:REVISION_DIGITS]


def _is_loaded(path: Path, folder: Path, lora: str | None) -> bool:
    relative = path.relative_to(folder)
    if not path.is_file() or any(part.startswith(".") for part in relative.parts):
        return False
    if relative.parts[0] == LORA_FOLDER:
        return relative.name == lora
    return relative.suffix != ".md" and relative.name != SUMS


class _Digests:
    """sha256 of files, remembered where that can be written; where it cannot, all are read."""

    def __init__(self, folder: Path, memory: Path | None) -> None:
        place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._path = memory / f"weights-{place}.json" if memory is not None else None
        self._known = _read(self._path) if self._path is not None else {}
        self._fresh: dict[str, list[Any]] = {}

    def of(self, path: Path) -> str:
        status = path.stat()
        mark = [status.st_size, status.st_mtime_ns]
        known = self._known.get(str(path))
        digest = str(known[2]) if known and known[:2] == mark else _sha256(path)
        if time.time() - status.st_mtime > SETTLED_AFTER:
            self._fresh[str(path)] = [*mark, digest]
        return digest

    def remember(self) -> None:
        if self._path is None or self._fresh == self._known:
            return
        draft = self._path.with_suffix(f".{os.getpid()}")  # workers start side by side
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(self._fresh), encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            log.warning("digests_not_remembered", extra={"why": str(error)})


def _read(path: Path) -> Mapping[str, list[Any]]:
    try:
        known: dict[str, list[Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # not there yet, or not whole: all is read again
    return known


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_sums(folder: Path, found: Mapping[str, str]) -> None:
    sums = folder / SUMS
    if not sums.is_file():
        return
    wrong = [
        f"{name} is missing" if not (folder / name).is_file() else f"{name} differs"
        for name, digest in _listed(sums)
        if found.get(name, digest if (folder / name).is_file() else None) != digest
    ]
    if wrong:
        raise BadSettings(f"model folder {folder}: not as {SUMS} says: {', '.join(wrong)}")


def _listed(sums: Path) -> Iterator[tuple[str, str]]:
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition(" ")
        yield name.lstrip(" *").removeprefix("./"), digest
