"""A model layer: a folder of files, each fetched by its sha256, whoever asks first.

Works in any folder; on a host, ``<root>/model/<layer>`` unless another disk has more room.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from envpack.node import fetch, suitable
from envpack.node.errors import InvalidManifest, NotTrusted, Unsuitable
from envpack.node.host import Completion, Host, write
from envpack.node.model import FileRecord, Manifest, is_digest
from envpack.node.trust import Trusted

SUMS = "SHA256SUMS"  #: as ``sha256sum`` writes it; a worker refuses files that differ from it
_PARTS = ".parts"
_SIDE_BY_SIDE = 4  # downloads; one alone seldom fills a line


@dataclass(frozen=True)
class Lack:
    """What a folder lacks of a model layer."""

    manifest: Manifest
    folder: Path  #: the real one
    records: tuple[FileRecord, ...]  #: missing, or other than they should be

    @property
    def needed(self) -> suitable.Need:
        size = sum(record.size for record in self.records)
        parts = [self.folder / _PARTS / digest for digest in {one.sha256 for one in self.records}]
        come = sum(part.stat().st_size for part in parts if part.is_file())
        return suitable.Need(self.folder, max(size - come, 0), len(self.records))


def pull(host: Host, trusted: Trusted, digest: str, to: Path | None) -> int:
    """The model layer, complete on this host; bytes fetched.  ``to``: another folder for it.

    Raises ``NotTrusted``, ``NotThere``, ``Unreachable`` or ``Unsuitable``.
    """
    lack = lacking(trusted, digest, place(host, digest, to))
    suitable.check_room([lack.needed])
    return complete(host, trusted, lack)


def complete(host: Host, trusted: Trusted, lack: Lack) -> int:
    """Fetches what is lacking and marks the layer complete; bytes fetched.  Raises as ``pull``."""
    digest = lack.manifest.digest
    fetched = _fill(trusted, lack)
    host.put_manifest("model", digest, lack.manifest)
    host.complete("model", digest, Completion(str(lack.folder), host.clock("model")))
    return fetched


def place(host: Host, digest: str, to: Path | None) -> Path:
    """The real folder for a model layer: the one where it is whole already, ``to``, or the root's.

    Raises ``Unsuitable`` if it is whole elsewhere than in ``to``: releases start from there.
    """
    wanted = Path(os.path.realpath(to or host.layer("model", digest)))
    try:
        done = host.completion("model", digest)
    except InvalidManifest:  # its mark is damaged: what is in the folder is compared anyway
        done = None
    if done is None or not Path(done.path).is_dir() or os.path.realpath(done.path) != done.path:
        return wanted
    if to is not None and str(wanted) != done.path:
        raise Unsuitable(
            f"model layer {digest[:12]}: is in {done.path}, from where its releases start, and "
            f"would not be looked for in {wanted}: name no folder, or that one"
        )
    return Path(done.path)


def lacking(trusted: Trusted, digest: str, folder: Path) -> Lack:
    """Raises ``NotTrusted``, ``NotThere`` or ``Unreachable``."""
    trusted.layer("model", digest)  # a signature stands behind the manifest's name
    manifest = trusted.manifest("model", digest)
    return Lack(manifest, folder, tuple(one for one in manifest.files if not _holds(folder, one)))


def pull_into(trusted: Trusted, digest: str, folder: Path) -> int:
    """A model layer in any folder: only what is missing or differs; bytes fetched.

    Raises as ``pull``.
    """
    lack = lacking(trusted, digest, Path(os.path.realpath(folder)))
    suitable.check_room([lack.needed])
    return _fill(trusted, lack)


def _fill(trusted: Trusted, lack: Lack) -> int:
    """Writes nothing where nothing is lacking: the folder may be another host's, read-only here."""
    if lack.records:
        _fetch(trusted, lack)
    sums = {record.path: record.sha256 for record in lack.manifest.files}
    if SUMS not in sums and _told(lack.folder) != sums:
        lines = "".join(f"{digest}  {path}\n" for path, digest in sums.items())
        write(lack.folder / SUMS, lines.encode())
    return sum({record.sha256: record.size for record in lack.records}.values())


def _told(folder: Path) -> dict[str, str] | None:
    try:
        return sums_of(folder)
    except (InvalidManifest, Unsuitable):
        return None


def _fetch(trusted: Trusted, lack: Lack) -> None:
    folder, manifest = lack.folder, lack.manifest
    missing = {record.sha256: record for record in lack.records}
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


def differences(folder: Path, manifest: Manifest, *, quick: bool = False) -> list[str]:
    """What in a model's folder is missing or not as its manifest says, in words; ``quick``: by
    size alone.
    """
    return [
        f"{record.path}: {'differs' if (folder / record.path).exists() else 'is missing'}"
        for record in manifest.files
        if not _holds(folder, record, quick=quick)
    ]


def strangers(folder: Path, manifest: Manifest) -> list[str]:
    """Files that the manifest does not have; nothing removes them, the folder may be anybody's."""
    known = {record.path for record in manifest.files} | {SUMS}
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    shown = [path for path in found if not any(part.startswith(".") for part in path.parts)]
    return sorted(path.as_posix() for path in shown if path.as_posix() not in known)


def differences_from_sums(folder: Path) -> list[str]:
    """The same by the folder's own ``SHA256SUMS``.  Raises ``Unsuitable`` without one."""
    found = []
    for name, digest in sums_of(folder).items():
        if not (folder / name).is_file():
            found.append(f"{name}: is missing")
        elif fetch.sha256_of(folder / name) != digest:
            found.append(f"{name}: differs")
    return found


def sums_of(folder: Path) -> dict[str, str]:
    """Name and digest of each file that the folder's own ``SHA256SUMS`` names.

    Raises ``Unsuitable`` without one, ``InvalidManifest`` for one that names none, or oddly.
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise Unsuitable(
            f"{folder}: has no {SUMS} to compare with: bring it from where the weights came from, "
            "or pull them by a release"
        )
    found = {}
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition(" ")
        name = name.lstrip(" *")
        name = name.removeprefix("./")  # as `find` names them
        if not (name and is_digest(digest)):
            raise InvalidManifest(f"{sums}: {line[:80]!r}: not as sha256sum writes it")
        found[name] = digest
    if not found:
        raise InvalidManifest(f"{sums}: names no file: nothing can be compared")
    return found


def _holds(folder: Path, record: FileRecord, *, quick: bool = False) -> bool:
    path = folder / record.path
    if path.is_symlink() or not path.is_file() or path.stat().st_size != record.size:
        return False
    return quick or fetch.sha256_of(path) == record.sha256


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
