"""Pictures that nobody took: mutated, lying, swollen, or something else altogether.

The same seed makes the same corpus.  ``python -m tests.poison`` decodes all of it, and prints one
JSON object a line of what came of each file, its CPU time, and the memory used so far.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from resource import RUSAGE_SELF, getrusage
from typing import Final

from PIL import Image

from jobs import log, pictures
from jobs.errors import UnusablePicture

SEED: Final = 7
MUTANTS: Final = 32  # of each format
SIDE: Final = 48  # pixels
LIMIT: Final = 8_192  # pixels of a side: squared, what we still take
HUGE: Final = 8 * 2**20  # bytes of metadata
PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Poison:
    name: str
    data: bytes
    is_large: bool = False  #: sound, and as large as we take: slow for reasons of its own


def corpus(seed: int = SEED) -> list[Poison]:
    """More than three hundred, each by another name."""
    chance = random.Random(seed)
    found = [*_mutants(chance), *_liars(), *_bombs(), *_swollen(chance), *_polyglots(), *_walks()]
    assert len({one.name for one in found}) == len(found)
    return found


# ---- mutants


def sound(file_format: str) -> bytes:
    ramp = Image.linear_gradient("L").resize((SIDE, SIDE))
    image = Image.merge("RGB", [ramp, ramp.rotate(90), ramp.rotate(180)])
    return _saved(image, file_format)


def _saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _flip_head(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(4, min(64, len(data)))] = chance.randrange(256)


def _truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(4, len(data)) :]


def _cut_out(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(4, len(data))
    del data[start : start + chance.randint(1, 64)]


def _stutter(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(4, len(data))
    data[start:start] = data[start : start + 64] * chance.randint(1, 200)


def _saturate(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(8, len(data))
    length = min(chance.choice((2, 4, 16)), len(data) - start)
    data[start : start + length] = chance.choice((b"\xff", b"\0", b"\x7f")) * length


def _noise(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) // 4, len(data))
    data[start:] = chance.randbytes(len(data) - start)


MUTATIONS: Final[tuple[Callable[[bytearray, random.Random], None], ...]] = (
    _flip,
    _flip_head,
    _truncate,
    _cut_out,
    _stutter,
    _saturate,
    _noise,
)


def _mutants(chance: random.Random) -> Iterator[Poison]:
    for file_format in pictures.FORMATS:
        origin = sound(file_format)
        for number in range(MUTANTS):
            data = bytearray(origin)
            for mutate in chance.sample(MUTATIONS, chance.randint(1, 2)):
                if len(data) > 64:
                    mutate(data, chance)
            yield Poison(f"mutant-{number}.{file_format.lower()}", bytes(data))


# ---- headers that lie


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A sound picture's pixels under a header that says something else."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG + _chunk(b"IHDR", header) + b"".join(extra) + sound("PNG")[33:]


def _patched(data: bytes, position: int, code: str, *values: int) -> bytes:
    patched = bytearray(data)
    struct.pack_into(code, patched, position, *values)
    return bytes(patched)


def _liars() -> Iterator[Poison]:
    sizes = [(0, 0), (1, 1), (16, 16), (47, 48), (49, 48), (48, 4_000), (4_000, 4_000), (16, 128)]
    for width, height in sizes:
        yield Poison(f"liar-{width}x{height}.png", _png(width, height))
        jpeg = sound("JPEG")
        frame = jpeg.index(b"\xff\xc0") + 5
        yield Poison(f"liar-{width}x{height}.jpeg", _patched(jpeg, frame, ">HH", height, width))
        yield Poison(
            f"liar-{width}x{height}.bmp", _patched(sound("BMP"), 18, "<ii", width, -height)
        )
        gif = sound("GIF")
        yield Poison(f"liar-{width}x{height}.gif", _patched(gif, 6, "<HH", width, height))
    for depth, colour in ((0, 2), (1, 2), (3, 0), (16, 3), (32, 6), (8, 1), (8, 7)):
        yield Poison(f"depth-{depth}-{colour}.png", _png(SIDE, SIDE, depth=depth, colour=colour))


# ---- bombs


def _bombs() -> Iterator[Poison]:
    for side in (8_193, 16_384, 30_000, 65_535, 2**31 - 1):
        yield Poison(f"bomb-{side}.png", _png(side, side))
    for side in (9_000, 16_384, 30_000, 65_535):
        jpeg = sound("JPEG")
        frame = jpeg.index(b"\xff\xc0") + 5
        yield Poison(f"bomb-{side}.jpeg", _patched(jpeg, frame, ">HH", side, side))
        yield Poison(f"bomb-{side}.gif", _patched(sound("GIF"), 6, "<HH", side, side))
        yield Poison(f"bomb-{side}.bmp", _patched(sound("BMP"), 18, "<ii", side, side))
    for side in (8_200, 15_000):  # all of it is there, in a few kilobytes
        rows = _packed_zeros(-(-(1 + side) * side // 2**20))
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        body = _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")
        yield Poison(f"packed-{side}.png", PNG + body)
    blank = Image.new("L", (LIMIT, LIMIT))
    yield Poison("limit.png", _saved(blank, "PNG"), is_large=True)
    yield Poison("limit.jpeg", _saved(blank, "JPEG"), is_large=True)


# ---- metadata beyond reason


def _swollen(chance: random.Random) -> Iterator[Poison]:
    noise = chance.randbytes(HUGE)
    for what, profile in (("noise", noise), ("zeros", bytes(HUGE)), ("few", b"icc")):
        for file_format in ("JPEG", "PNG", "WEBP", "TIFF"):
            data = _with_profile(file_format, profile)
            yield Poison(f"profile-{what}.{file_format.lower()}", data)
    packed = _packed_zeros(256)  # a thousandth of what it holds
    for kind, body in (
        (b"iCCP", b"p\0\0" + packed),
        (b"zTXt", b"t\0\0" + packed),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed),
        (b"eXIf", noise),
        (b"tEXt", b"t\0" + noise),
    ):
        yield Poison(f"swollen-{kind.decode()}.png", _png(SIDE, SIDE, _chunk(kind, body)))
    jpeg = sound("JPEG")
    for name, body in (
        ("exif-noise", b"Exif\0\0" + noise[:60_000]),
        ("exif-loop", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"),
        ("exif-many", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(60_000)),
        ("mpf-loop", b"MPF\0II*\0\x08\0\0\0\x01\0\0\xb0\x07\0\xff\xff\xff\xff\x08\0\0\0"),
        ("photoshop", b"Photoshop 3.0\x008BIM\x04\x04\0\0\xff\xff\xff\xff"),
    ):
        length = struct.pack(">H", len(body) + 2)
        marker = b"\xff\xe2" if name.startswith("mpf") else b"\xff\xe1"
        yield Poison(f"{name}.jpeg", jpeg[:2] + marker + length + body + jpeg[2:])


def _packed_zeros(mebibytes: int) -> bytes:
    packer, one = zlib.compressobj(9), bytes(2**20)
    return b"".join(packer.compress(one) for _ in range(mebibytes)) + packer.flush()


def _with_profile(file_format: str, profile: bytes) -> bytes:
    return _saved(Image.new("RGB", (SIDE, SIDE), "red"), file_format, icc_profile=profile)


# ---- files that are two things, or another one


def _polyglots() -> Iterator[Poison]:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo("x.txt"), "x")  # without the hour
    tails = {
        "zip": archive.getvalue(),
        "html": b"<script>alert(1)</script>",
        "png": sound("PNG"),
        "jpeg": sound("JPEG"),
        "pdf": b"%PDF-1.7\n%%EOF",
        "zeros": bytes(2**20),
    }
    for file_format in pictures.FORMATS:
        for what, tail in tails.items():
            yield Poison(f"{what}-behind.{file_format.lower()}", sound(file_format) + tail)
        yield Poison(f"magic-alone.{file_format.lower()}", sound(file_format)[:12])
    yield from _others(archive.getvalue())


def _others(archive: bytes) -> Iterator[Poison]:
    laughs = b'<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">' * 1_000
    others = {
        "empty": b"",
        "one-byte": b"\xff",
        "text.jpg": b"Please make it red.",
        "script.jpg": b"GIF89a=1;alert(1)//",
        "laughs.svg": b"<?xml version='1.0'?><!DOCTYPE x [" + laughs + b"]><svg>&b;</svg>",
        "archive.png": archive,
        "program.jpg": b"\x7fELF" + bytes(4_096),
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run",
        "heic.jpg": b"\0\0\0\x18ftypheic" + bytes(512),
        "jxl.jpg": b"\xff\x0a" + bytes(512),
        "icon.png": b"\0\0\1\0\1\0" + bytes(512),
        "fits.png": b"SIMPLE  =                    T" + b" " * 2_850,
        "jpeg-then-png": sound("JPEG")[:200] + sound("PNG"),
        "png-then-jpeg": sound("PNG")[:60] + sound("JPEG"),
        "random": random.Random(SEED).randbytes(4_096),
        "zeros.tiff": b"II*\0" + bytes(4_096),
        "ones.webp": b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 512,
    }
    for name, data in others.items():
        yield Poison(name, data)


# ---- work without pixels: what a decoder would walk for minutes


def _walks() -> Iterator[Poison]:
    scans = _saved(Image.new("L", (2_048, 2_048)), "JPEG", progressive=True)
    last = scans.rindex(b"\xff\xda")
    yield Poison("scans.jpeg", scans[:last] + scans[last:-2] * 2_000 + scans[-2:])
    jpeg = sound("JPEG")
    yield Poison("segments.jpeg", jpeg[:2] + b"\xff\xfe\0\2" * 500_000 + jpeg[2:])
    yield Poison("fill.jpeg", jpeg[:2] + b"\xff" * 2**22 + jpeg[2:])
    yield Poison("junk.jpeg", jpeg[:2] + b"\x7f" * 2**22 + jpeg[2:])
    yield Poison("chunks.png", _png(SIDE, SIDE, _chunk(b"teST", b"") * 500_000))
    yield Poison("texts.png", _png(SIDE, SIDE, _chunk(b"tEXt", b"k\0v") * 200_000))
    yield Poison("tags.tiff", b"II*\0\x08\0\0\0\xff\xff" + bytes(12 * 65_535))
    yield Poison("loop.tiff", _tiff([(256, 4, 1, SIDE), (257, 4, 1, SIDE)], after=8))
    yield Poison("strips.tiff", _tiff([(256, 4, 1, 16), (257, 4, 1, 16), (273, 4, 2**20, 8)]))
    sides = [(256, 4, 1, SIDE), (257, 4, 1, SIDE), (322, 4, 1, 60_000), (323, 4, 1, 60_000)]
    yield Poison("tiles.tiff", _tiff(sides))
    frames = [Image.new("P", (SIDE, SIDE), number) for number in range(200)]
    yield Poison("frames.gif", _saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))


def _tiff(tags: list[tuple[int, int, int, int]], *, after: int = 0) -> bytes:
    rows = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + rows + struct.pack("<I", after)


# ---- a process that eats them all


def taste(poison: Poison) -> str:
    """``picture``, or why not; anything but a refusal is raised."""
    try:
        pictures.inspect(poison.data, name=poison.name)
        pictures.decode(poison.data, name=poison.name).close()
    except UnusablePicture as refusal:
        return str(refusal)
    return "picture"


def _peak() -> int:
    """The most memory that this process ever had, in MiB."""
    return getrusage(RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    log.set_up(as_json=True, stream=sys.stderr)
    all_of_it = corpus()
    began_with = _peak()
    for poison in all_of_it:
        began = time.process_time()
        try:
            came_of_it = taste(poison)
        except Exception as fault:  # noqa: BLE001 - the finding itself
            came_of_it = f"CRASH {type(fault).__name__}: {fault}"
        line = {
            "name": poison.name,
            "came_of_it": came_of_it,
            "cpu_s": round(time.process_time() - began, 3),
            "grown_by_mib": _peak() - began_with,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
