"""Archive to tree: exactly the manifest's files, each compared before anybody may use it.

Files are written once, in their last form: hashed as packed, prefix fixed, read-only.  Links come
last, so that no file is ever written through one.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Callable

from envpack.node import fetch, prefix
from envpack.node.compression import Section
from envpack.node.crew import side_by_side
from envpack.node.errors import HostileArchive, NotTrusted
from envpack.node.members import PIECE, Archive, Member
from envpack.node.model import FileRecord, Manifest

#: Sections at a time.  More gain little: creating files is the kernel's work, one lock per folder.
_THREADS = min(os.cpu_count() or 1, 4)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: The file systems' reasons not to link: then the file is copied.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}

#: sha256 and size of the files that the prefix has changed.
Changed = dict[str, "tuple[str, int]"]


class Extraction:
    """Of one layer into ``tree``, a folder that holds nothing yet and will stand at ``place``."""

    def __init__(self, manifest: Manifest, tree: Path, place: Path) -> None:
        self._manifest, self._tree, self._place = manifest, tree, place
        self._files = {record.path: record for record in manifest.files}
        self._links = {record.path: record.target for record in manifest.links}
        self.changed: Changed = {}

    def run(self, sections: Sequence[Section], base: tuple[Path, Manifest] | None) -> None:
        """``base``: what a delta's other files are taken from.

        Raises ``HostileArchive``, ``NotTrusted`` or ``InvalidManifest``.
        """
        folders = sorted(_folders([*self._files, *self._links]))
        for folder in folders:
            os.mkdir(f"{self._tree}/{folder}", 0o755)  # noqa: PTH102 - of thousands
        side_by_side([partial(self._write_section, one) for one in sections], _THREADS)
        side_by_side(self._takes_from_base(base), _THREADS)
        for record in self._manifest.links:
            (self._tree / record.path).symlink_to(record.target)
        for folder in [*reversed(folders), ""]:
            os.chmod(f"{self._tree}/{folder}", 0o555)  # noqa: PTH101, S103 - of thousands; nobody may write

    def _write_section(self, section: Section) -> None:
        with section.opened() as stream:
            archive = Archive(stream, is_last=section.is_last)
            for member in archive:
                if member.kind == "link":
                    self._check_link(member)
                    continue
                record = self._expected(member)
                if record.prefix is None:
                    self._write_as_packed(record, archive)
                else:
                    self._write_fixed(record, archive.read(record.size))

    def _expected(self, member: Member) -> FileRecord:
        """What the manifest says of a member that has not come before."""
        record = self._files.pop(member.path, None)
        if record is None:
            raise HostileArchive(
                f"{member.path[:200]!r}: a member twice, or one that the manifest has not"
            )
        if (member.size, member.mode) != (record.size, record.mode):
            raise HostileArchive(
                f"{member.path!r}: {member.size} bytes, mode {member.mode:o}; "
                f"its manifest says {record.size}, {record.mode:o}"
            )
        return record

    def _check_link(self, member: Member) -> None:
        target = self._links.pop(member.path, None)
        if target is None or target != member.target:
            raise HostileArchive(
                f"{member.path[:200]!r}: a link to {member.target[:200]!r} that the manifest "
                "has not, or has already"
            )

    def _takes_from_base(self, base: tuple[Path, Manifest] | None) -> list[Callable[[], None]]:
        """What has not come: from the base where the archive is a delta, else it is missing."""
        if base is None:
            missing = [*self._files, *self._links]
            if missing:
                raise HostileArchive(
                    f"archive: {len(missing)} members missing, {missing[0]!r} the first"
                )
            return []
        folder, manifest = base
        held = {record.sha256: record for record in manifest.files if record.prefix is None}
        takes: list[Callable[[], None]] = []
        for record in self._files.values():
            if record.prefix is not None or record.sha256 not in held:
                raise HostileArchive(f"{record.path!r}: neither in the delta nor in its base")
            source = held[record.sha256]
            same = _read_only(source.mode) == _read_only(record.mode)
            takes.append(partial(self._take, folder / source.path, record, may_link=same))
        return takes

    def _take(self, source: Path, record: FileRecord, *, may_link: bool) -> None:
        if fetch.sha256_of(source) != record.sha256:
            raise NotTrusted(f"{source}: changed since it was unpacked: unpack --again its release")
        path = self._tree / record.path
        try:
            if may_link:
                os.link(source, path, follow_symlinks=False)
                return
        except OSError as fault:
            if fault.errno not in _NO_LINK:
                raise
        with source.open("rb") as old, os.fdopen(self._created(record), "wb") as new:
            shutil.copyfileobj(old, new, PIECE)

    def _write_fixed(self, record: FileRecord, data: bytes) -> None:
        """In memory and at once: a file on disk is never half fixed."""
        _check(record, sha256(data).hexdigest())
        content = prefix.fixed(record, data, self._place)
        if content != data:
            self.changed[record.path] = (sha256(content).hexdigest(), len(content))
        with os.fdopen(self._created(record), "wb", 0) as file:
            _write_all(file.fileno(), memoryview(content))

    def _write_as_packed(self, record: FileRecord, archive: Archive) -> None:
        summed = sha256()
        handle = self._created(record)
        try:
            for piece in archive.pieces():
                summed.update(piece)
                _write_all(handle, piece)
        finally:
            os.close(handle)
        _check(record, summed.hexdigest())

    def _created(self, record: FileRecord) -> int:
        return os.open(f"{self._tree}/{record.path}", _NEW, _read_only(record.mode))


def _check(record: FileRecord, found: str) -> None:
    if found != record.sha256:
        raise HostileArchive(f"{record.path!r}: sha256 {record.sha256} expected, {found} found")


def _write_all(handle: int, data: memoryview) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _read_only(mode: int) -> int:
    return 0o555 if mode & 0o111 else 0o444


def _folders(paths: Iterable[str]) -> set[str]:
    """All folders that the paths pass through."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found
