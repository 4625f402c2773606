"""How a picture file is built, judged without decoding it.

The number of pixels does not bound the work.  Measured with Pillow 13: a progressive JPEG of
0.6 MB with 2,000 scans 50 s, 8 MiB of empty TIFF strips 8.5 s, of empty JPEG segments 2.6 s, a
TIFF tile packed into 7.5 MiB 1.7 GiB.  No camera, scanner or editor writes such files.  Each
function here returns what is wrong with one, or ``None``; where a file is merely broken, it is
left to the decoder to say so.
"""

from __future__ import annotations

import re
import struct
from typing import Final

MAX_PARTS: Final = 2**16  # segments, chunks or strips of one file
MAX_SCANS: Final = 50  # of a progressive JPEG; each walks the whole picture again
MAX_JUNK: Final = 2**16  # bytes between the segments of a JPEG
MAX_TAGS: Final = 1_024  # of a TIFF
MAX_TILE_SIDE: Final = 4_096  # pixels
MAX_GIF_BYTES: Final = 8 * 2**20

_MARKER: Final = re.compile(rb"\xff+([^\xff\x00\x01\xd0-\xd8])")
_STRIPS: Final = frozenset({273, 279, 324, 325})  # offsets and lengths, of strips and tiles
_TILE_SIDES: Final = frozenset({322, 323})
_SUBFILE_TYPE: Final = 254


def fault_of_jpeg(data: bytes) -> str | None:
    position, junk, scans, in_scan = 2, 0, 0, False
    for _ in range(MAX_PARTS):
        marker = _MARKER.search(data, position)
        end = marker.end() if marker else len(data)
        junk += 0 if in_scan else end - position - 2
        if junk > MAX_JUNK:
            return f"more than {MAX_JUNK:,} bytes of junk between its segments"
        if marker is None or marker[1] == b"\xd9":
            return None
        in_scan = marker[1] == b"\xda"
        scans += in_scan
        if scans > MAX_SCANS:
            return f"more than {MAX_SCANS} scans"
        position = end + int.from_bytes(data[end : end + 2], "big")
    return f"more than {MAX_PARTS:,} segments"


def fault_of_png(data: bytes) -> str | None:
    position = 8
    for _ in range(MAX_PARTS):
        if position + 8 > len(data) or data[position + 4 : position + 8] == b"IEND":
            return None
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return f"more than {MAX_PARTS:,} chunks"


def fault_of_tiff(data: bytes) -> str | None:
    order = "<" if data.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (tags,) = struct.unpack_from(f"{order}H", data, start)
        if tags > MAX_TAGS:
            return f"{tags:,} tags; at most {MAX_TAGS:,}"
        for position in range(start + 2, start + 2 + 12 * tags, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", data, position)
            (value,) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, position + 8)
            if tag in _STRIPS and count > MAX_PARTS:
                return f"{count:,} strips; at most {MAX_PARTS:,}"
            if tag in _TILE_SIDES and value > MAX_TILE_SIDE:
                return f"tiles of {value:,} pixels; at most {MAX_TILE_SIDE:,}"
            if tag == _SUBFILE_TYPE and value & 1:  # the picture itself is elsewhere
                return "only a preview: a camera's raw file? Develop it to JPEG or PNG"
    except struct.error:
        return None
    return None


def fault_of_bmp(data: bytes) -> str | None:
    # Pillow unpacks run lengths in Python.
    return "run-length compressed pixels; save it as PNG" if data[30:34] in _RUN_LENGTHS else None


_RUN_LENGTHS: Final = (b"\1\0\0\0", b"\2\0\0\0")


def fault_of_gif(data: bytes) -> str | None:
    if len(data) > MAX_GIF_BYTES:
        return f"more than {MAX_GIF_BYTES // 2**20} MiB, the limit for a GIF"
    return None


def sound(_data: bytes) -> str | None:
    """For formats whose parts are walked in C, and bounded by the declared size."""
    return None
