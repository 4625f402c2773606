"""Reads the members of an archive as a stream, by rules narrower than tar's.

An archive of ours holds regular files and symbolic links in ustar headers, a pax header where a
name does not fit, and zeros at its end.  Whatever else a tar may say is refused: no other type,
no GNU extension, no number beyond octal, no header that lies about its own sum.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import BinaryIO, cast

from envpack.node.errors import HostileArchive

PIECE = 1 << 20  #: bytes of a member that are held at once
_BLOCK = 512
_END = bytes(_BLOCK)
_OCTAL = re.compile(rb"[0-7]+")
_MAX_PAX = 1 << 16  # bytes; a path has 4096 at most
_MAX_TAIL = 1 << 20  # bytes of zeros after the last member; tar pads to 10,240
_TYPES = {b"0": "file", b"\0": "file", b"2": "link"}
_REFUSED = {
    b"1": "a hard link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
    b"g": "a global pax header",
    b"L": "a long name of GNU tar",
    b"K": "a long link of GNU tar",
    b"S": "a sparse file of GNU tar",
}


@dataclass(frozen=True)
class Member:
    path: str
    kind: str  #: ``file`` or ``link``
    size: int  #: bytes that follow
    mode: int
    target: str  #: of a link


class Archive:
    """Members in the order of the stream; the bytes of one are read before the next is asked.

    ``is_last``: the stream holds the archive's end; another section ends behind a member.
    """

    def __init__(self, stream: BinaryIO, *, is_last: bool = True) -> None:
        self._stream, self._is_last = cast("io.BufferedReader", stream), is_last
        self._left = 0  # bytes of this member still to come
        self._padding = 0
        self._piece = memoryview(bytearray(PIECE))

    def __iter__(self) -> Iterator[Member]:
        """Raises ``HostileArchive``, also where the stream ends too early."""
        while True:
            self._exactly(self._left + self._padding)
            header = self._stream.read(_BLOCK)
            if not header and not self._is_last:
                return
            self._check_whole(header, _BLOCK)
            if header == _END and self._is_last:
                self._check_tail()
                return
            names: dict[str, str] = {}
            if header[156:157] == b"x":
                names = self._pax(header)
                header = self._exactly(_BLOCK)
            member = _member(header, names)
            self._left, self._padding = member.size, -member.size % _BLOCK
            yield member

    def read(self, size: int) -> bytes:
        """The next bytes of this member, ``size`` of them or as many as are left."""
        data = self._exactly(min(size, self._left))
        self._left -= len(data)
        return data

    def pieces(self) -> Iterator[memoryview]:
        """What is left of this member; each piece is good until the next one is asked."""
        while self._left:
            piece = self._piece[: self._left]
            self._check_whole(piece[: self._stream.readinto(piece)], len(piece))
            self._left -= len(piece)
            yield piece

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._check_whole(data, size)
        return data

    @staticmethod
    def _check_whole(data: Sized, size: int) -> None:
        if len(data) != size:
            raise HostileArchive("archive: ends in the middle of a member: fetch it again")

    def _pax(self, header: bytes) -> dict[str, str]:
        size = _header(header)[1]
        if not 0 < size <= _MAX_PAX:
            raise HostileArchive(f"archive: a pax header of {size} bytes")
        records = _records(self._exactly(size))
        self._exactly(-size % _BLOCK)
        return records

    def _check_tail(self) -> None:
        tail = self._stream.read(_MAX_TAIL)
        if len(tail) < _BLOCK or len(tail) == _MAX_TAIL or any(tail):
            raise HostileArchive("archive: does not end in zeros alone")


def _header(block: bytes) -> tuple[int, int]:
    """Mode and size of a header whose sum holds."""
    summed = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if _octal("sum", block[148:156]) != summed or block[257:263] != b"ustar\0":
        raise HostileArchive("archive: a header that is no ustar header, or damaged")
    return _octal("mode", block[100:108]), _octal("size", block[124:136])


def _member(block: bytes, names: dict[str, str]) -> Member:
    mode, size = _header(block)
    kind = block[156:157]
    path = _text("path", block[:100])
    folder = _text("path", block[345:500])
    member = Member(
        path=names.get("path", f"{folder}/{path}" if folder else path),
        kind=_TYPES.get(kind, ""),
        size=_decimal(names["size"]) if "size" in names else size,
        mode=mode,
        target=names.get("linkpath", _text("linkpath", block[157:257])),
    )
    if not member.kind:
        what = _REFUSED.get(kind, f"of unknown type {kind!r}")
        raise HostileArchive(f"{member.path[:200]!r}: {what}; only files and symbolic links")
    if member.kind == "link":
        if member.size:
            raise HostileArchive(f"{member.path[:200]!r}: a link that holds bytes")
        return member
    if member.target:
        raise HostileArchive(f"{member.path[:200]!r}: a file that links to something")
    return member


def _records(data: bytes) -> dict[str, str]:
    """``length key=value\\n`` of pax; only what a name or a size needs."""
    found: dict[str, str] = {}
    while data:
        length, _, rest = data.partition(b" ")
        size = _decimal(length.decode("ascii", "replace"))
        record, data = data[:size], data[size:]
        key, equals, value = record[len(length) + 1 : -1].partition(b"=")
        if len(record) != size or record[-1:] != b"\n" or not rest or not equals:
            raise HostileArchive("archive: a pax header that cannot be read")
        name = key.decode("ascii", "replace")
        if name not in {"path", "linkpath", "size"} or name in found:
            raise HostileArchive(f"archive: pax key {name[:80]!r}; only path, linkpath, size")
        found[name] = _text(name, value, whole=True)
    return found


def _octal(what: str, raw: bytes) -> int:
    digits = raw.rstrip(b" \0")
    if not _OCTAL.fullmatch(digits):
        raise HostileArchive(f"archive: {what} {raw!r} is no octal number")
    return int(digits, 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise HostileArchive(f"archive: {text[:80]!r} is no number")
    return int(text)


def _text(what: str, raw: bytes, *, whole: bool = False) -> str:
    value = raw if whole else raw.partition(b"\0")[0]
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise HostileArchive(f"archive: {what} {raw[:80]!r} is not UTF-8") from None
    if "\0" in text:
        raise HostileArchive(f"archive: {what} {raw[:80]!r} holds a NUL")
    return text
