"""Picture files for the tests: made here, sound ones and odd ones."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Final

import pytest
from PIL import Image, ImageCms

from jobs import pictures
from jobs.errors import UnusablePicture

SIDE: Final = 32
RED, GREEN, GREY = (255, 0, 0), (0, 255, 0), (128, 128, 128)


def gradient(width: int = 48, height: int = 40) -> Image.Image:
    """A picture in which no two pixels of a row or a column are alike."""
    x = Image.linear_gradient("L").rotate(90).resize((width, height))
    y = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", [x, y, x.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def refusal(data: bytes, name: str = "shirt.jpg") -> str:
    """What both doors say; they must say the same."""
    with pytest.raises(UnusablePicture) as at_submit:
        pictures.inspect(data, name=name)
    with pytest.raises(UnusablePicture) as at_worker:
        pictures.decode(data, name=name)
    assert str(at_submit.value) == str(at_worker.value)
    return str(at_submit.value)


def first_pixel(data: bytes) -> object:
    return pictures.decode(data, name="x").getpixel((0, 0))


def png_declaring(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + saved(gradient(), "PNG")[33:]
    )


ANIMATION: Final = [Image.new("RGB", (SIDE, SIDE), color) for color in ("red", "green", "blue")]


def animation(file_format: str) -> bytes:
    first, *others = ANIMATION
    return saved(first, file_format, save_all=True, append_images=others)


def built_profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """The smallest ICC profile (version 2, printer) that holds the tags."""
    table, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, offset + len(body), len(value))
        body += value + b"\0" * (-len(value) % 4)
    white = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    header = struct.pack(
        ">I4sI4s4s4s12s4s28s12s48s",
        offset + len(body),
        b"lcms",
        0x02400000,
        b"prtr",
        space,
        tags.get(b"pcs ", b"XYZ "),
        b"",
        b"acsp",
        b"",
        white,
        b"",
    )
    return header + table + body


def linear_grey_profile() -> bytes:
    gamma_one = b"curv\0\0\0\0" + struct.pack(">I", 0)
    white = b"XYZ \0\0\0\0" + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return built_profile(b"GRAY", {b"kTRC": gamma_one, b"wtpt": white})


def swapped_profile(*, named: str = "swap") -> bytes:
    """sRGB with the red and the green primary exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = profile.replace("sRGB".encode("utf-16-be"), named.encode("utf-16-be"))
    return renamed.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
