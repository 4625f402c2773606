"""Where a depot is brought: a folder here, a host through rsync and ssh, a bucket of S3."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from envpack.node.depot import BUCKET
from envpack.node.errors import NotTrusted, Unreachable, Unsuitable
from envpack.node.settings import bucket_server
from envpack.pack.process import ToolFailed, run
from envpack.pack.ship import Destination, Item

_BLOCK: Final = 1024 * 1024  # bytes read at a time
_HOST: Final = re.compile(r"(?P<host>([\w.-]+@)?[\w.-]{2,}):(?P<folder>/[^/\s]\S*)")
#: No question can be answered by a pipeline; a dead link is told after a minute.
SSH: Final = ("ssh", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=20")


def destination(text: str) -> Destination:
    """``host:/folder``, ``s3://bucket/prefix``, or a folder.  Raises ``Unsuitable``."""
    if match := BUCKET.fullmatch(text):
        from envpack.pack.bucket import Bucket  # noqa: PLC0415 - its SDK is for this alone

        return Bucket(bucket_server(), match["bucket"], (match["prefix"] or "").strip("/"))
    if match := _HOST.fullmatch(text):
        return Host(match["host"], match["folder"])
    if not text or ":" in text.partition("/")[0]:
        raise Unsuitable(
            f"not a destination: {text!r}: HOST:/FOLDER, s3://BUCKET/PREFIX or a folder"
        )
    return Folder(Path(text))


class Folder:
    """A file is written beside its place, compared, and renamed; half a file is continued."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = str(folder)

    def send(self, depot: Path, items: Sequence[Item]) -> list[Item]:
        return [item for item in items if self._send(depot / item.path, item)]

    def _send(self, source: Path, item: Item) -> bool:
        place = self.folder / item.path
        if self._has(place, source, item):
            return False
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        with part.open("a+b") as target, source.open("rb") as origin:
            fcntl.flock(target, fcntl.LOCK_EX)  # two may ship the same release
            if not _is_at(part, target):  # the other one has just renamed it
                return self._send(source, item)
            _fill(origin, target, item)
            os.fsync(target.fileno())
            part.chmod(0o644)
            part.replace(place)
        return True

    def _has(self, place: Path, source: Path, item: Item) -> bool:
        if not place.is_file() or place.stat().st_size != item.size:
            return False
        return item.sha256 is not None or place.read_bytes() == source.read_bytes()


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return path.samefile(f"/proc/self/fd/{file.fileno()}")
    except FileNotFoundError:
        return False


def _fill(origin: BinaryIO, target: BinaryIO, item: Item) -> None:
    """Raises ``NotTrusted`` when the content is not what the name says."""
    if item.sha256 is None:  # a document is small, and what half of it is there may be older
        target.truncate(0)
    found = _continued(origin, target)
    if item.sha256 not in {None, found}:  # was the half that was there of other bytes?
        target.truncate(0)
        found = _continued(origin, target)
    if item.sha256 not in {None, found}:
        target.truncate(0)
        raise NotTrusted(f"{item.path}: its content is {found}: remove it, then pack again")


def _continued(origin: BinaryIO, target: BinaryIO) -> str:
    """Append what is missing; the sha256 of the whole."""
    digest = hashlib.sha256()
    target.seek(0)
    while block := target.read(_BLOCK):
        digest.update(block)
    origin.seek(target.tell())
    while block := origin.read(_BLOCK):
        digest.update(block)
        target.write(block)
    target.flush()
    return digest.hexdigest()


class Host:
    """rsync writes beside the place and renames; what it had of a file it continues."""

    def __init__(self, host: str, folder: str, *, ssh: Sequence[str] = SSH) -> None:
        self.host, self.folder, self._ssh = host, folder, tuple(ssh)
        self.where = f"{host}:{folder}"
        self._made = False

    def send(self, depot: Path, items: Sequence[Item]) -> list[Item]:
        by_content = all(item.sha256 for item in items)
        wanted = {item.path: item for item in items}
        self._make_folder()
        words: list[str | Path] = ["rsync", "--files-from=-", "--out-format=%n", "--perms"]
        words += ["--rsh", shlex.join(self._ssh), "--chmod=D755,F644", "--partial-dir=.part"]
        # A document may change without changing its size.
        words += ["--size-only" if by_content else "--checksum"]
        sent = self._run([*words, f"{depot}/", f"{self.where}/"], "\n".join(wanted))
        went = [wanted[path] for path in sent.splitlines() if path in wanted]
        self._compare([item for item in went if item.sha256])
        return went

    def _make_folder(self) -> None:
        """rsync's own --mkpath is younger than the rsync of many hosts."""
        if not self._made:
            self._run([*self._ssh, self.host, f"mkdir -p -- {shlex.quote(self.folder)}"])
            self._made = True

    def _compare(self, items: Sequence[Item]) -> None:
        """By the host's own sha256sum: what lies on its disk, not what went through the wire."""
        if not items:
            return
        folder = shlex.quote(self.folder)
        # Not --check: a name may not be what somebody makes of it, and one bad line says which.
        names = "\0".join(item.path for item in items)
        command = f"cd {folder} && xargs -0 sha256sum --"
        said = self._run([*self._ssh, self.host, command], names)
        lines = (line.partition("  ") for line in said.splitlines())
        found = {path: digest for digest, _, path in lines}
        for item in items:
            if found.get(item.path) != item.sha256:
                self._run([*self._ssh, self.host, f"rm -f -- {folder}/{shlex.quote(item.path)}"])
                raise NotTrusted(
                    f"{self.where}/{item.path}: its content is {found.get(item.path)}; it was"
                    " removed there: ship again; if that does not help, remove it here too, and"
                    " pack again"
                )

    def _run(self, words: Sequence[str | Path], stdin: str = "") -> str:
        try:
            return run(words, stdin=stdin).stdout
        except ToolFailed as fault:
            raise Unreachable(f"{self.where}: {fault}") from fault
