"""Writes a layer's tar as a stream: the same members give the same bytes, in bounded memory."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO, Final

from envpack.node.model import Archive, FileRecord, LinkRecord
from envpack.pack.compress import compressor
from envpack.pack.survey import Surveyed

_BLOCK: Final = 512
_TOGETHER: Final = 1 << 20  # bytes handed to the compressor at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How an archive is compressed.  ``level`` and ``threads``: by default what serves most."""

    format: str = "tar.zst"
    level: int | None = None
    threads: int = 0


class Counted:
    """A file that knows the digest and the size of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self.size = file, sha256(), 0

    def write(self, data: bytes, /) -> int:
        self._digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def write_archive(
    file: BinaryIO,
    files: Iterable[tuple[FileRecord, Iterable[bytes]]],
    links: Sequence[LinkRecord],
    form: Form,
    base: str | None = None,
) -> Archive:
    """``files``: sorted by path, each with its content in pieces.  What was written."""
    sink = Counted(file)
    with compressor(form.format, sink, form.level, form.threads) as stream:
        for piece in _together(_tar(files, links)):
            stream.write(piece)
    return Archive(sink.sha256, sink.size, form.format, base)


def contents(files: Iterable[Surveyed]) -> Iterator[tuple[FileRecord, Iterable[bytes]]]:
    """What ``write_archive`` takes, of files as they were surveyed."""
    for one in files:
        yield one.record, one.source.chunks(expected=one.record.size)


def _tar(
    files: Iterable[tuple[FileRecord, Iterable[bytes]]], links: Sequence[LinkRecord]
) -> Iterator[bytes]:
    remaining = list(reversed(links))
    for record, chunks in files:
        while remaining and remaining[-1].path < record.path:
            yield _link_header(remaining.pop())
        yield _file_header(record)
        yield from chunks
        yield bytes(-record.size % _BLOCK)
    while remaining:
        yield _link_header(remaining.pop())
    yield bytes(2 * _BLOCK)


def _together(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A compressor called once per small file would be busy being called."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= _TOGETHER:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _file_header(record: FileRecord) -> bytes:
    member = tarfile.TarInfo(record.path)
    member.size, member.mode = record.size, record.mode
    return _header(member)


def _link_header(link: LinkRecord) -> bytes:
    member = tarfile.TarInfo(link.path)
    member.type, member.linkname, member.mode = tarfile.SYMTYPE, link.target, 0o755
    return _header(member)


def _header(member: tarfile.TarInfo) -> bytes:
    """Owner 0, time 0.  What ustar cannot hold goes into a pax header of its own."""
    with suppress(ValueError, UnicodeEncodeError):
        return member.tobuf(tarfile.USTAR_FORMAT, encoding="ascii", errors="strict")
    return member.tobuf(tarfile.PAX_FORMAT, encoding="utf-8")
