"""A model layer: a folder of files, each fetched by its sha256, whoever asks first.

Works in any folder; on a host, ``<root>/model/<layer>`` unless another disk has more room.
"""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from envpack.node import fetch, suitable
from envpack.node.errors import NotTrusted, Unsuitable
from envpack.node.host import Completion, Host, write
from envpack.node.model import FileRecord, Manifest, spelt
from envpack.node.trust import Trusted

SUMS = "SHA256SUMS"  #: as ``sha256sum`` writes it; a worker refuses files that differ from it
_PARTS = ".parts"
_SIDE_BY_SIDE = 4  # downloads; one alone seldom fills a line


def pull(host: Host, trusted: Trusted, digest: str, to: Path | None) -> int:
    """The model layer, complete on this host; bytes fetched.  ``to``: another folder for it.

    Raises ``NotTrusted``, ``NotThere``, ``Unreachable`` or ``Unsuitable``.
    """
    trusted.layer("model", digest)  # a signature stands behind the manifest's name
    manifest = trusted.manifest("model", digest)
    folder = Path(os.path.realpath(to or host.layer("model", digest)))
    fetched = pull_into(trusted, manifest, folder)
    write(host.manifest_path("model", digest), spelt(manifest.as_json()))
    host.complete("model", digest, Completion(str(folder), time.time()))
    return fetched


def pull_into(trusted: Trusted, manifest: Manifest, folder: Path) -> int:
    """Only what is missing or differs; bytes fetched."""
    missing = {record.sha256: record for record in manifest.files if not _holds(folder, record)}
    needed = sum(record.size for record in missing.values())
    suitable.check_space(folder, needed, len(missing))
    parts = folder / _PARTS
    parts.mkdir(parents=True, exist_ok=True)

    def fetch_one(record: FileRecord) -> None:
        name = f"files/{record.sha256}"
        path = fetch.copied(trusted.depot, name, record.sha256, record.size, parts)
        _place(path, folder, [one for one in manifest.files if one.sha256 == record.sha256])

    pool = ThreadPoolExecutor(_SIDE_BY_SIDE)
    try:
        list(pool.map(fetch_one, missing.values()))
    finally:
        pool.shutdown(cancel_futures=True)
    shutil.rmtree(parts)
    if all(record.path != SUMS for record in manifest.files):
        lines = "".join(f"{record.sha256}  {record.path}\n" for record in manifest.files)
        write(folder / SUMS, lines.encode())
    return needed


def differences(folder: Path, manifest: Manifest) -> list[str]:
    """What in a model's folder is not as its manifest says, in words; empty if all is."""
    known = {record.path for record in manifest.files} | {SUMS}
    found = [
        f"{record.path}: {'differs' if (folder / record.path).exists() else 'is missing'}"
        for record in manifest.files
        if not _holds(folder, record)
    ]
    extra = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not any(one.startswith(".") for one in path.relative_to(folder).parts)
    )
    return found + [f"{path}: is not in the manifest" for path in extra if path not in known]


def differences_from_sums(folder: Path) -> list[str]:
    """The same by the folder's own ``SHA256SUMS``.  Raises ``Unsuitable`` without one."""
    sums = folder / SUMS
    if not sums.is_file():
        raise Unsuitable(f"{folder}: has no {SUMS} to compare with")
    found = []
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition(" ")
        path = folder / name.lstrip(" *")
        if not path.is_file():
            found.append(f"{name.lstrip(' *')}: is missing")
        elif fetch.sha256_of(path) != digest:
            found.append(f"{path.name}: differs")
    return found


def _holds(folder: Path, record: FileRecord) -> bool:
    path = folder / record.path
    if path.is_symlink() or not path.is_file() or path.stat().st_size != record.size:
        return False
    return fetch.sha256_of(path) == record.sha256


def _place(source: Path, folder: Path, records: list[FileRecord]) -> None:
    """By a rename: a name never holds half a file."""
    for record in records:
        path = folder / record.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.realpath(path.parent) != str(path.parent):
            raise NotTrusted(f"{path}: would be written through a link: empty {folder} first")
        draft = source
        if record is not records[-1]:
            draft = source.with_name(f"{source.name}.copy")
            shutil.copyfile(source, draft)
        draft.chmod(0o444)
        draft.replace(path)
