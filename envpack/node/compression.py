"""Reads an archive's sections: runs of whole members, each decompressed by itself."""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from envpack.node.errors import HostileArchive
from envpack.node.model import Archive

_BUFFER = 1 << 20  # bytes


@dataclass(frozen=True)
class Section:
    """Bytes of a file on this host; the last one holds the archive's end too."""

    path: Path
    format: str
    start: int
    size: int
    is_last: bool

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Its part of the tar.  Raises ``HostileArchive`` if it does not decompress to its end."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            source = io.BufferedReader(_Part(file, self.size), _BUFFER)
            raw = gzip.GzipFile(fileobj=source) if self.format == "tar.gz" else _Zstd(source)
            try:
                with io.BufferedReader(cast("io.RawIOBase", raw), _BUFFER) as stream:
                    yield cast("BinaryIO", stream)
            except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
                raise HostileArchive(f"{self.path.name}: does not decompress ({fault})") from fault


def sections(path: Path, archive: Archive) -> list[Section]:
    """All of them, the largest first: whoever shares them out ends with the small ones."""
    found = []
    start = 0
    for size in archive.sections or (archive.size,):
        is_last = start + size == archive.size
        found.append(Section(path, archive.format, start, size, is_last))
        start += size
    return sorted(found, key=lambda section: -section.size)


def readable() -> set[str]:
    """The formats that this host can read, of ``model.FORMATS``."""
    return {"tar.gz"} if _library() is None else {"tar.gz", "tar.zst"}


class _Part(io.RawIOBase):
    """The next ``size`` bytes of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = cast("io.RawIOBase", file), size

    def readable(self) -> bool:
        return True

    def readinto(self, place: Any) -> int:  # noqa: ANN401 - any buffer
        count = self._file.readinto(memoryview(place)[: self._left]) or 0
        self._left -= count
        return count


class _Buffer(ctypes.Structure):
    """``ZSTD_inBuffer`` and ``ZSTD_outBuffer``: address, size, how far it was used."""

    _fields_ = (
        ("place", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("used", ctypes.c_size_t),
    )


class _Zstd(io.RawIOBase):
    """Frames of zstd, by the library that dpkg, rpm and systemd bring to every server.

    Its calls let go of Python's lock and write where the reader wants the bytes: a ``zstd`` beside
    us would send each through a pipe.
    """

    def __init__(self, source: io.BufferedReader[Any]) -> None:
        library = _library()
        assert library is not None, "asked for a format that is not readable() here"
        self._library, self._source = library, source
        self._stream = ctypes.c_void_p(library.ZSTD_createDStream())
        self._held = ctypes.create_string_buffer(_BUFFER)
        self._input = _Buffer(ctypes.addressof(self._held), 0, 0)
        self._wanted = 1  # what the frame still lacks, or 0 behind its end

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._library.ZSTD_freeDStream(self._stream)
        super().close()

    def readinto(self, place: Any) -> int:  # noqa: ANN401 - any buffer
        """Raises ``EOFError`` for what is no zstd, damaged or cut off."""
        room = memoryview(place).nbytes
        held = (ctypes.c_char * room).from_buffer(place)
        output = _Buffer(ctypes.addressof(held), room, 0)
        while not output.used:
            if self._input.used == self._input.size:
                self._input.size, self._input.used = self._source.readinto(self._held), 0
            ended = not self._input.size
            if ended and not self._wanted:
                break
            self._wanted = self._library.ZSTD_decompressStream(
                self._stream, ctypes.byref(output), ctypes.byref(self._input)
            )
            if self._library.ZSTD_isError(self._wanted):
                raise EOFError(self._library.ZSTD_getErrorName(self._wanted).decode())
            if ended and not output.used:
                raise EOFError("ends in the middle of a frame")
        return int(output.used)


def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return None
    library.ZSTD_createDStream.restype = ctypes.c_void_p
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    library.ZSTD_getErrorName.argtypes = [ctypes.c_size_t]
    library.ZSTD_getErrorName.restype = ctypes.c_char_p
    return library
