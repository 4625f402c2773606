"""Compresses a stream on all cores; the same input gives the same bytes, however many there are.

Sections have a fixed size, so neither the number of threads nor the size of a write shows.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Protocol, Self

from envpack.pack.errors import NotPackable

#: What a section holds before it is compressed, in bytes.
ZSTD_SECTION: Final = 8 << 20
GZIP_SECTION: Final = 1 << 20
#: More threads than these would hold more sections in memory than a build machine spares.
MAX_THREADS: Final = 8
#: zstd 6 and gzip 6: beyond, each further percent costs twice the time.
LEVELS: Final = {"tar.zst": 3, "tar.gz": 6}
#: zstd 16 and above search windows that a small host may not have.
MAX_LEVELS: Final = {"tar.zst": 15, "tar.gz": 9}

_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time, no system
_DICTIONARY: Final = 32768  # bytes that deflate looks back


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class Compressor(Protocol):
    """Ended by leaving its ``with`` block."""

    def write(self, data: bytes, /) -> object: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> object: ...


def compressor(form: str, sink: Sink, level: int | None = None, threads: int = 0) -> Compressor:
    """Into ``sink``, which stays open.  Raises ``NotPackable`` for a level that is not one."""
    level = LEVELS[form] if level is None else level
    if not 1 <= level <= MAX_LEVELS[form]:
        raise NotPackable(f"level of {form}: 1 to {MAX_LEVELS[form]}, got {level}")
    threads = min(threads or os.cpu_count() or 1, MAX_THREADS)
    if form == "tar.gz":
        return _Gzip(sink, level, threads)
    return _zstd(sink, level, threads)


def _zstd(sink: Sink, level: int, threads: int) -> Compressor:
    import zstandard  # noqa: PLC0415 - only to pack

    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        threads=threads,  # with one as well: without any, sections are cut otherwise
        job_size=ZSTD_SECTION,
        write_checksum=1,
    )
    made: Any = zstandard.ZstdCompressor(compression_params=parameters)
    writer: Compressor = made.stream_writer(sink, closefd=False)
    return writer


class _Gzip:
    """One member, as pigz writes it: each section looks back into the one before."""

    def __init__(self, sink: Sink, level: int, threads: int) -> None:
        self._sink, self._level, self._threads = sink, level, threads
        self._pool = ThreadPoolExecutor(threads)
        self._waiting: deque[Future[bytes]] = deque()
        self._section = bytearray()
        self._before = b""
        self._crc, self._size = 0, 0

    def __enter__(self) -> Self:
        self._sink.write(_GZIP_HEAD)
        return self

    def write(self, data: bytes, /) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._section += data
        while len(self._section) > GZIP_SECTION:
            self._compress(bytes(self._section[:GZIP_SECTION]), zlib.Z_SYNC_FLUSH)
            del self._section[:GZIP_SECTION]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._pool:
            if kind is not None:
                return
            self._compress(bytes(self._section), zlib.Z_FINISH)
            while self._waiting:
                self._sink.write(self._waiting.popleft().result())
        self._sink.write(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))

    def _compress(self, section: bytes, ending: int) -> None:
        before, self._before = self._before, section[-_DICTIONARY:]
        self._waiting.append(self._pool.submit(_deflated, section, before, self._level, ending))
        while len(self._waiting) > 2 * self._threads:
            self._sink.write(self._waiting.popleft().result())


def _deflated(section: bytes, before: bytes, level: int, ending: int) -> bytes:
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=before)
    return deflate.compress(section) + deflate.flush(ending)
