"""The pictures we take from strangers, and the pictures we give back.

    bytes ─► recognise ─► structure ─► header ─► limits ─► decode ─► RGB, upright, sRGB
              (magic)      (no Pillow)  (no pixels)

Both sides pass every picture through here: the producer before it makes a job, the worker
again before it computes (it does not trust the producer).  Whatever Pillow raises on hostile
input leaves this module as ``UnusablePicture``, and no setting of Pillow is changed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from PIL import ExifTags, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from jobs import picture_structure
from jobs.errors import OutOfResources, UnusablePicture
from jobs.model import MAX_ASPECT, OutputFormat
from jobs.picture_colours import FAULTS, on_background, split, to_srgb, with_alpha
from jobs.picture_png import XMP as PNG_XMP
from jobs.picture_png import encode_png

MAX_BYTES: Final = 64 * 2**20
MAX_PIXELS: Final = 64 * 2**20  # phones make 50 million
MIN_SIDE: Final = 16  # pixels
MAX_SIDE: Final = 16_384  # pixels
QUALITY: Final = 95  # of JPEG and WebP, where nothing is said


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """A format we read.  Pillow's reader is called by its class, never through
    ``Image.open``: that one tries readers which other libraries may have registered, and
    warns about a large picture before we can look at its size (silencing a warning is not
    safe between threads).
    """

    name: str
    magic: re.Pattern[bytes]
    reader: type[ImageFile.ImageFile]
    fault: Callable[[bytes], str | None]

    @property
    def media_type(self) -> str:
        return f"image/{self.name.lower()}"


def _kind(
    name: str,
    magic: bytes,
    reader: type[ImageFile.ImageFile],
    fault: Callable[[bytes], str | None] = picture_structure.sound,
) -> _Kind:
    return _Kind(name=name, magic=re.compile(magic, re.DOTALL), reader=reader, fault=fault)


# A phone's multi-picture file (MPO) begins as a JPEG, and its first picture is the one meant.
_KINDS: Final = (
    _kind("JPEG", rb"\xff\xd8\xff", JpegImageFile, picture_structure.fault_of_jpeg),
    _kind("PNG", rb"\x89PNG\r\n\x1a\n", PngImageFile, picture_structure.fault_of_png),
    _kind("WEBP", rb"RIFF....WEBP", WebPImageFile),
    _kind("TIFF", rb"II\*\0|MM\0\*", TiffImageFile, picture_structure.fault_of_tiff),
    _kind("AVIF", rb"....ftyp(?:avi[fs]|mif1.{,64}?avif)", AvifImageFile),
    _kind("BMP", rb"BM", BmpImageFile, picture_structure.fault_of_bmp),
    _kind("GIF", rb"GIF8[79]a", GifImageFile, picture_structure.fault_of_gif),
)
#: What ``inspect`` and ``decode`` take.
FORMATS: Final = tuple(kind.name for kind in _KINDS)

#: What people send all the same; named, so that they know what to convert.
_FOREIGN: Final = {
    "a HEIC picture": re.compile(rb"....ftyp(?:hei|hev|mif1|msf1)", re.DOTALL),
    "a JPEG XL picture": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "a JPEG 2000 picture": re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "),
    "a Photoshop document": re.compile(rb"8BPS"),
    "a PDF document": re.compile(rb"%PDF-"),
    "an SVG drawing": re.compile(rb"\s*(?:<\?xml.*?)?<svg", re.DOTALL),
}

_TOO_MANY_BYTES: Final = f"more than {MAX_BYTES // 2**20} MiB, the limit for a file"
_TOO_MANY_PIXELS: Final = f"at most {MAX_PIXELS / 1e6:.1f} million pixels"


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureInfo:
    """A picture that can be decoded.  Width and height are those of the upright picture."""

    format: str  #: one of ``FORMATS``
    media_type: str
    width: int
    height: int
    size_bytes: int


def read_file(path: Path) -> bytes:
    """The bytes of a regular file of at most ``MAX_BYTES``; more is never read.

    Raises ``UnusablePicture`` where the path is missing, unreadable, a folder, a pipe or
    a device, or where the file is too large.
    """
    name = str(path)
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb") as file:  # noqa: PTH123 - Path has no flags
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _unusable(name, "not a regular file")
            if status.st_size > MAX_BYTES:
                raise _unusable(name, _TOO_MANY_BYTES)
            return read_stream(file, name=name)
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the path
        reason = fault.strerror if isinstance(fault, OSError) else None
        raise _unusable(name, f"cannot be read: {reason or fault}") from fault


def read_stream(stream: BinaryIO, *, name: str) -> bytes:
    """What is left of a stream; raises ``UnusablePicture`` beyond ``MAX_BYTES``."""
    data = stream.read(MAX_BYTES + 1)
    _check_bytes(data, name)
    return data


def inspect(data: bytes, *, name: str) -> PictureInfo:
    """Check a picture to the last pixel; raises ``UnusablePicture``.

    The limits are checked on the header, before any pixel is decoded.  Then the picture is
    decoded once and thrown away, since nothing less finds a file cut short.
    """
    kind, image = _opened(data, name)
    width, height = image.size
    with _refusing(name, kind):
        # A JPEG at an eighth of its size still reads all data: 50 MP in 0.04 s, not 0.15 s.
        image.draft(None, (width // 8, height // 8))
        image.load()
    if _orientation(image) in _SIDEWAYS:  # a TIFF is upright by now, and says so
        width, height = height, width
    return PictureInfo(
        format=kind.name,
        media_type=kind.media_type,
        width=width,
        height=height,
        size_bytes=len(data),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """Upright, in sRGB, laid on white; with neither metadata nor the data."""

    picture: Image.Image  #: RGB
    alpha: Image.Image | None  #: L, of the same size; ``None``: nothing is transparent


def decode(data: bytes, *, name: str) -> Image.Image:
    """The picture in RGB, upright, in sRGB, on white; raises ``UnusablePicture``.

    The checks are those of ``inspect``.
    """
    return decode_all(data, name=name).picture


def decode_all(data: bytes, *, name: str) -> Decoded:
    """``decode``, and what was transparent."""
    kind, image = _opened(data, name)
    with _refusing(name, kind):
        image.load()
        turn = _TURNS.get(_orientation(image))
        colours, alpha = split(image)
        rgb = to_srgb(colours, image.info.get("icc_profile"))
        if alpha is not None:
            rgb = on_background(rgb, alpha)
        planes = [
            one if turn is None or one is None else one.transpose(turn) for one in (rgb, alpha)
        ]
    upright, clear = planes
    assert upright is not None, "only the alpha may be missing"
    upright.info.clear()
    is_clear = clear is not None and clear.getextrema() != (255, 255)
    return Decoded(picture=upright, alpha=clear if is_clear else None)


def xmp_of(data: bytes, *, name: str) -> bytes | None:
    """The XMP packet that the picture carries, as it is; from a stranger."""
    kind, image = _opened(data, name)
    with _refusing(name, kind):
        packet = image.info.get("xmp") or image.info.get(PNG_XMP)
    return packet.encode() if isinstance(packet, str) else packet


def encode(
    image: Image.Image,
    output_format: OutputFormat,
    *,
    quality: int | None = None,
    alpha: Image.Image | None = None,
    xmp: bytes | None = None,
) -> bytes:
    """The picture as a file; the same arguments give the same bytes.

    ``quality`` (1 to 100; ``None`` is 95) is JPEG's and WebP's; PNG loses nothing.  ``alpha``
    is scaled to the picture; without it, what is transparent in ``image`` is laid on white.
    ``xmp`` is written as it is; there is no other metadata.  Raises ``ValueError`` for a JPEG
    with alpha.
    """
    plain = _plain(image)
    if alpha is not None:
        # Bilinear does not overshoot: no faint rim beside a hard edge.
        plain = with_alpha(plain, alpha.resize(plain.size, Image.Resampling.BILINEAR))
    plain.info.clear()  # Pillow would write a profile or a resolution that it finds there
    file = BytesIO()
    quality = QUALITY if quality is None else quality
    match output_format:
        case OutputFormat.PNG:
            return encode_png(plain, xmp=xmp)
        case OutputFormat.JPEG:
            if alpha is not None:
                raise ValueError("JPEG has no transparency")
            # 4:4:4: the edges of a product on white are what halved colour blurs first.
            plain.save(file, "JPEG", quality=quality, subsampling="4:4:4", **_xmp(xmp))
        case OutputFormat.WEBP:
            plain.save(file, "WEBP", quality=quality, **_xmp(xmp))
    return file.getvalue()


def _plain(image: Image.Image) -> Image.Image:
    colours, alpha = split(image)
    plain = colours.convert("RGB")
    return plain if alpha is None else on_background(plain, alpha)


def _xmp(packet: bytes | None) -> dict[str, bytes]:
    return {} if packet is None else {"xmp": packet}


def _unusable(name: str, problem: str) -> UnusablePicture:
    return UnusablePicture(f"{_clean(name)}: {problem}")


def _clean(name: str) -> str:
    """Names and faults come from strangers: no control characters, no endless text."""
    return "".join(c if c.isprintable() else "?" for c in name[-200:])


@contextmanager
def _refusing(name: str, kind: _Kind) -> Iterator[None]:
    """The one gate for Pillow's faults; only calls of Pillow belong inside."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as fault:
        raise _unusable(name, f"declares too large a picture; {_TOO_MANY_PIXELS}") from fault
    except MemoryError as fault:
        raise OutOfResources(f"{_clean(name)}: no memory left to decode it") from fault
    except FAULTS as fault:
        detail = _clean(str(fault)[:120])
        raise _unusable(
            name, f"the {kind.name} file is truncated or damaged ({detail or 'unreadable'})"
        ) from fault


def _opened(data: bytes, name: str) -> tuple[_Kind, ImageFile.ImageFile]:
    """Header read and within all limits; no pixel decoded yet."""
    _check_bytes(data, name)
    kind = _recognised(data, name)
    if fault := kind.fault(data):
        raise _unusable(name, f"the {kind.name} file holds {fault}")
    with _refusing(name, kind):
        image = kind.reader(BytesIO(data), "")
        size, frames = image.size, _frames(image)
    _check_size(size, name)
    if frames:
        raise _unusable(
            name, f"the {kind.name} file holds {frames}; submit one picture: save a single frame"
        )
    return kind, image


def _frames(image: ImageFile.ImageFile) -> str:
    if not getattr(image, "is_animated", False):
        return ""
    if isinstance(image, TiffImageFile):
        return "more than one page"  # counting them would mean reading them all
    return f"{getattr(image, 'n_frames', 2)} frames"


def _check_bytes(data: bytes, name: str) -> None:
    if not data:
        raise _unusable(name, "the file is empty")
    if len(data) > MAX_BYTES:
        raise _unusable(name, _TOO_MANY_BYTES)


def _recognised(data: bytes, name: str) -> _Kind:
    head = data[:1024]
    for kind in _KINDS:
        if kind.magic.match(head):
            return kind
    for what, magic in _FOREIGN.items():
        if magic.match(head):
            raise _unusable(name, f"{what}, which is not supported; use {', '.join(FORMATS)}")
    raise _unusable(name, f"not a picture in a supported format: {', '.join(FORMATS)}")


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    shape = f"{width}×{height} pixels"
    if width * height > MAX_PIXELS:
        raise _unusable(name, f"{shape}; {_TOO_MANY_PIXELS}")
    if min(size) < MIN_SIDE or max(size) > MAX_SIDE:
        raise _unusable(name, f"{shape}; each side must be {MIN_SIDE} to {MAX_SIDE:,} pixels")
    if max(size) > MAX_ASPECT * min(size):
        raise _unusable(name, f"{shape}; the longer side may be {MAX_ASPECT} times the shorter")


_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})


def _orientation(image: Image.Image) -> int:
    """EXIF's number; 1 (upright) where the metadata is broken: pixels matter more."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except FAULTS:
        return 1
    return value if isinstance(value, int) else 1
