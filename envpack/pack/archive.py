"""Writes a layer's tar as a stream: the same members give the same bytes, in bounded memory."""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import BinaryIO, Final

from envpack.node.model import Archive, FileRecord, LinkRecord
from envpack.pack.compress import compressor
from envpack.pack.survey import Surveyed

_BLOCK: Final = 512
#: name, mode, owner, group, size, time, sum, type, link, magic, (names, devices), folder
_USTAR: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s80x155s12x")
_NAME, _FOLDER = 100, 155  # bytes that ustar has for them
_MAX_SIZE: Final = 8**11


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
        for member in _members(files, links):
            stream.boundary()
            for piece in member:
                stream.write(piece)
        stream.write(bytes(2 * _BLOCK))
    return Archive(sink.sha256, sink.size, form.format, base, tuple(stream.sections))


def contents(files: Iterable[Surveyed]) -> Iterator[tuple[FileRecord, Iterable[bytes]]]:
    """What ``write_archive`` takes, of files as they were surveyed."""
    for one in files:
        yield one.record, one.source.chunks(expected=one.record.size)


def _members(
    files: Iterable[tuple[FileRecord, Iterable[bytes]]], links: Sequence[LinkRecord]
) -> Iterator[Iterable[bytes]]:
    remaining = list(reversed(links))
    for record, chunks in files:
        while remaining and remaining[-1].path < record.path:
            yield [_link_header(remaining.pop())]
        padding = bytes(-record.size % _BLOCK)
        yield chain([_file_header(record)], chunks, [padding])
    while remaining:
        yield [_link_header(remaining.pop())]


def _file_header(record: FileRecord) -> bytes:
    return _header(record.path, b"0", (record.mode, record.size), "")


def _link_header(link: LinkRecord) -> bytes:
    return _header(link.path, b"2", (0o755, 0), link.target)


def _header(path: str, kind: bytes, mode_and_size: tuple[int, int], target: str) -> bytes:
    """Owner 0, time 0.  What ustar cannot hold goes into a pax header of its own."""
    mode, size = mode_and_size
    folder, name = _split(path)
    fits = path.isascii() and target.isascii() and len(target) <= _NAME and size < _MAX_SIZE
    if len(name) > _NAME or len(folder) > _FOLDER or not fits:
        member = tarfile.TarInfo(path)
        member.type, member.mode, member.size, member.linkname = kind, mode, size, target
        return member.tobuf(tarfile.PAX_FORMAT, encoding="utf-8")
    header = _USTAR.pack(
        name.encode(),
        b"%07o" % mode,
        *(b"0000000", b"0000000"),
        b"%011o" % size,
        b"00000000000",
        b" " * 8,
        kind,
        target.encode(),
        b"ustar\x0000",
        folder.encode(),
    )
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _split(path: str) -> tuple[str, str]:
    """Folder and name, as ustar divides a path that is too long for the name alone."""
    if len(path) <= _NAME:
        return "", path
    cut = path.find("/", len(path) - _NAME - 1)
    return (path[:cut], path[cut + 1 :]) if cut > 0 else ("", path)
