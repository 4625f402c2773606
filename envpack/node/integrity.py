"""Whether a layer's files are still what was unpacked."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from envpack.node import fetch
from envpack.node.host import Completion, Host
from envpack.node.model import FileRecord

#: File systems round their times: seconds.
_TICK = 2.0


def differing(host: Host, kind: str, digest: str, *, quick: bool) -> list[str]:
    """Paths that are missing, changed or too many.

    ``quick``: by size and by whether they were touched since; else by sha256 too.
    Raises ``NotThere`` or ``NotTrusted`` for a layer that is not whole here.
    """
    tree = host.placed(kind, digest)
    done = host.completion(kind, digest)
    assert done is not None, "placed() has read it"
    manifest = host.manifest(kind, digest)
    found = dict(_present(str(tree)))
    wrong = [
        record.path
        for record in manifest.files
        if not _is_same(found.pop(record.path, None), record, done, quick=quick)
    ]
    wrong += [
        link.path for link in manifest.links if _target(found.pop(link.path, None)) != link.target
    ]
    return wrong + sorted(found)


def _is_same(
    entry: os.DirEntry[str] | None, record: FileRecord, done: Completion, *, quick: bool
) -> bool:
    if entry is None:
        return False
    status = entry.stat(follow_symlinks=False)
    digest, size = done.changed.get(record.path, (record.sha256, record.size))
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        return False
    if quick:
        return status.st_mtime <= done.completed + _TICK
    return fetch.sha256_of(Path(entry.path)) == digest


def _target(entry: os.DirEntry[str] | None) -> str:
    return str(Path(entry.path).readlink()) if entry and entry.is_symlink() else ""


def _present(tree: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything that is no folder, by its path in the tree: of tens of thousands, so without
    ``Path``.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        with suppress(OSError), os.scandir(f"{tree}/{folder}") as listed:
            for entry in listed:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}{entry.name}/")
                else:
                    yield f"{folder}{entry.name}", entry
