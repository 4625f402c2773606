"""Whether a layer's files are still what was unpacked."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from envpack.node import fetch
from envpack.node.host import Completion, Host
from envpack.node.model import FileRecord

#: A file system's clock may lag behind the host's: seconds.
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
    links = {link.path: link.target for link in manifest.links}
    wrong = [
        record.path for record in manifest.files if not _is_same(tree, record, done, quick=quick)
    ]
    wrong += [path for path, target in links.items() if _target(tree / path) != target]
    known = {record.path for record in manifest.files} | set(links)
    return wrong + sorted(_present(tree) - known)


def _is_same(tree: Path, record: FileRecord, done: Completion, *, quick: bool) -> bool:
    path = tree / record.path
    try:
        status = path.lstat()
    except OSError:
        return False
    digest, size = done.changed.get(record.path, (record.sha256, record.size))
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        return False
    if quick:
        return status.st_mtime <= done.completed + _TICK
    return fetch.sha256_of(path) == digest


def _target(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _present(tree: Path) -> set[str]:
    """Every path that is no folder."""
    found = set()
    for folder, below, files in os.walk(tree):
        links = [name for name in below if Path(folder, name).is_symlink()]
        found |= {str(Path(folder, name).relative_to(tree)) for name in (*files, *links)}
    return found
