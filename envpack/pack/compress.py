"""Compresses a stream on all cores; the same input gives the same bytes, however many there are.

    stream ─► sections, each decompressed by itself ─► pieces, compressed side by side

A section ends where the writer allows it, so that a host can unpack several at once; a piece has a
fixed size, so neither the number of threads nor the size of a write shows.
"""

from __future__ import annotations

import os
import struct
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Final, Protocol, Self

from envpack.pack.errors import NotPackable

#: What a section holds at least before it is compressed, in bytes; one of many sections.
SECTION: Final = 16 << 20
#: What a piece holds before it is compressed, in bytes.
ZSTD_PIECE: Final = 8 << 20
GZIP_PIECE: Final = 1 << 20
#: More threads than these would hold more pieces in memory than a build machine spares.
MAX_THREADS: Final = 8
#: zstd 6 and gzip 6: beyond, each further percent costs twice the time.
LEVELS: Final = {"tar.zst": 3, "tar.gz": 6}
#: zstd 16 and above search windows that a small host may not have.
MAX_LEVELS: Final = {"tar.zst": 15, "tar.gz": 9}

_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time, no system
_DICTIONARY: Final = 32768  # bytes that deflate looks back

Job = Callable[[], bytes]


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


def compressor(form: str, sink: Sink, level: int | None = None, threads: int = 0) -> Compressor:
    """Into ``sink``, which stays open.  Raises ``NotPackable`` for a level that is not one."""
    level = LEVELS[form] if level is None else level
    if not 1 <= level <= MAX_LEVELS[form]:
        raise NotPackable(f"level of {form}: 1 to {MAX_LEVELS[form]}, got {level}")
    threads = min(threads or os.cpu_count() or 1, MAX_THREADS)
    kind = _Gzip if form == "tar.gz" else _Zstd
    return kind(sink, level, threads)


class Compressor(ABC):
    """Ended by leaving its ``with`` block."""

    _size: int  #: of a piece, in bytes

    def __init__(self, sink: Sink, level: int, threads: int) -> None:
        self.sections: list[int] = []  #: compressed bytes of each, once all is written
        self._sink, self._level, self._threads = sink, level, threads
        self._pool = ThreadPoolExecutor(threads)
        self._waiting: deque[tuple[Future[bytes], bool]] = deque()
        self._piece = bytearray()
        self._in_section, self._written = 0, 0

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes, /) -> None:
        self._piece += data
        self._in_section += len(data)
        while len(self._piece) > self._size:
            rest = self._piece[self._size :]
            del self._piece[self._size :]
            self._compress(self._piece, is_last=False)
            self._piece = rest

    def boundary(self) -> None:
        """Here a section may end."""
        if self._in_section >= SECTION:
            self._end_section()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._pool:
            if kind is not None:
                return
            if self._in_section or not self.sections:
                self._end_section()
            while self._waiting:
                self._take()

    def _end_section(self) -> None:
        self._compress(self._piece, is_last=True)
        self._piece = bytearray()
        self._in_section = 0

    def _compress(self, piece: bytearray, *, is_last: bool) -> None:
        job = self._job(piece, is_last=is_last)
        self._waiting.append((self._pool.submit(job), is_last))
        while len(self._waiting) > 2 * self._threads:
            self._take()

    def _take(self) -> None:
        future, is_last = self._waiting.popleft()
        data = future.result()
        self._sink.write(data)
        self._written += len(data)
        if is_last:
            self.sections.append(self._written)
            self._written = 0

    @abstractmethod
    def _job(self, piece: bytearray, *, is_last: bool) -> Job:
        """What compresses the section's next piece; called in the order of the stream."""


class _Zstd(Compressor):
    """A frame for each piece."""

    _size = ZSTD_PIECE

    def _job(self, piece: bytearray, *, is_last: bool) -> Job:  # noqa: ARG002 - a frame has its own end
        import zstandard  # noqa: PLC0415 - only to pack

        parameters = zstandard.ZstdCompressionParameters.from_level(self._level, write_checksum=1)
        return partial(zstandard.ZstdCompressor(compression_params=parameters).compress, piece)


class _Gzip(Compressor):
    """A member for each section, as pigz writes it: each piece looks back into the one before."""

    _size = GZIP_PIECE
    _before = b""
    _crc, _length = 0, 0

    def _job(self, piece: bytearray, *, is_last: bool) -> Job:
        head = b"" if self._length else _GZIP_HEAD
        self._crc = zlib.crc32(piece, self._crc)
        self._length += len(piece)
        tail = struct.pack("<II", self._crc, self._length & 0xFFFFFFFF) if is_last else b""
        job = partial(_deflated, piece, self._before, self._level, (head, tail))
        self._before = bytes(piece[-_DICTIONARY:])
        if is_last:
            self._before, self._crc, self._length = b"", 0, 0
        return job


def _deflated(piece: bytearray, before: bytes, level: int, around: tuple[bytes, bytes]) -> bytes:
    """With what comes before it in its section and, at its end, behind it."""
    head, tail = around
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=before)
    ending = zlib.Z_FINISH if tail else zlib.Z_SYNC_FLUSH
    return head + deflate.compress(piece) + deflate.flush(ending) + tail
