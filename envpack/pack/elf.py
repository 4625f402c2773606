"""Which glibc a program or library asks for: the versions that its ELF file needs.

Read from the section ``.gnu.version_r`` (``SHT_GNU_verneed``); see elf(5) and the LSB's "Symbol
Versioning".  64 bits, little endian: what runs PyTorch.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

_MAGIC: Final = b"\x7fELF\x02\x01"
_VERNEED: Final = 0x6FFFFFFE
_GLIBC: Final = re.compile(rb"GLIBC_([0-9]+(?:\.[0-9]+)+)")
#: A marker instead of a number: relative relocations are packed, which glibc reads since 2.36.
_RELR: Final = b"GLIBC_ABI_DT_RELR"


class _Section(NamedTuple):
    kind: int
    offset: int
    size: int
    link: int
    entries: int


def glibc_needed(path: Path) -> tuple[int, ...]:
    """The highest version of glibc that this file needs, as ``(2, 28)``.

    Empty for what is no ELF file, is linked statically, or is cut off.
    """
    with path.open("rb", buffering=0) as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return ()
        try:
            return max(_versions(file), default=())
        except (struct.error, IndexError, ValueError, OSError, OverflowError):
            return ()  # its headers point beyond its end


def _versions(file: BinaryIO) -> Iterator[tuple[int, ...]]:
    sections = _sections(file)
    for section in sections:
        if section.kind == _VERNEED:
            strings = _part(file, sections[section.link])
            for name in _needed(_part(file, section), section.entries, strings):
                if name == _RELR:
                    yield (2, 36)
                elif numbered := _GLIBC.fullmatch(name):
                    yield tuple(int(part) for part in numbered[1].split(b"."))


def _sections(file: BinaryIO) -> list[_Section]:
    file.seek(0x28)
    (table,) = struct.unpack("<Q", file.read(8))
    file.seek(0x3A)
    size, count = struct.unpack("<HH", file.read(4))
    file.seek(table)
    rows = file.read(size * count)
    found = []
    for start in range(0, len(rows) - size + 1, size or len(rows) + 1):
        _, kind, _, _, offset, length, link, entries, _, _ = struct.unpack_from(
            "<IIQQQQIIQQ", rows, start
        )
        found.append(_Section(kind, offset, length, link, entries))
    return found


def _part(file: BinaryIO, section: _Section) -> bytes:
    file.seek(section.offset)
    return file.read(section.size)


def _needed(table: bytes, count: int, strings: bytes) -> Iterator[bytes]:
    """For each library that is needed, the versions of it that are."""
    library = 0
    for _ in range(count):
        _, versions, _, first, following = struct.unpack_from("<HHIII", table, library)
        one = library + first
        for _ in range(versions):
            _, _, _, name, after = struct.unpack_from("<IHHII", table, one)
            yield strings[name : strings.index(b"\0", name)]
            one += after
        library += following
