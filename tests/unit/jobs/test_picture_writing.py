"""What is given back: same pixels, same bytes."""

from __future__ import annotations

import random
from io import BytesIO

import pytest
from PIL import Image

from jobs import pictures
from jobs.model import OutputFormat
from jobs.picture_png import BAND, XMP, encode_png
from tests.unit.jobs.picture_files import (
    SIDE,
    first_pixel,
    gradient,
    saved,
    swapped_profile,
)


@pytest.mark.parametrize("output_format", OutputFormat)
def test_the_same_pixels_give_the_same_bytes(output_format: OutputFormat) -> None:
    image = gradient(200, 150)
    image.info["icc_profile"] = swapped_profile()
    image.info["dpi"] = (300, 300)

    data = pictures.encode(image, output_format)

    assert data == pictures.encode(gradient(200, 150), output_format)
    assert pictures.inspect(data, name="x").media_type == output_format.media_type


def test_png_loses_nothing() -> None:
    data = pictures.encode(gradient(), OutputFormat.PNG)

    assert pictures.decode(data, name="x").tobytes() == gradient().tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (64, 1), (1, BAND), (3, BAND + 1), (17, 3 * BAND + 5)])
def test_a_png_of_any_size_and_any_pixels_is_read_back_as_it_was(
    mode: str, size: tuple[int, int]
) -> None:
    rng = random.Random(0)
    image = Image.frombytes(mode, size, rng.randbytes(size[0] * size[1] * len(mode)))

    with Image.open(BytesIO(encode_png(image, xmp="底色".encode()))) as written:
        written.load()  # the text stands there from the header on: before the pixels

        assert (written.mode, written.size) == (mode, size)
        assert written.tobytes() == image.tobytes()
        assert written.info[XMP] == "底色"


def test_jpeg_keeps_all_its_colour() -> None:
    data = pictures.encode(gradient(), OutputFormat.JPEG)

    assert b"\x01\x11\x00\x02\x11\x01\x03\x11\x01" in data  # no component is subsampled


@pytest.mark.parametrize("output_format", [OutputFormat.JPEG, OutputFormat.WEBP])
def test_a_lower_quality_is_smaller(output_format: OutputFormat) -> None:
    low = pictures.encode(gradient(200, 150), output_format, quality=20)

    assert len(low) < len(pictures.encode(gradient(200, 150), output_format))


def test_a_transparent_result_is_written_on_white() -> None:
    image = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))

    assert first_pixel(pictures.encode(image, OutputFormat.PNG)) == (255, 255, 255)


@pytest.mark.parametrize("output_format", [OutputFormat.PNG, OutputFormat.WEBP])
def test_transparency_is_handed_back_at_the_pictures_size(output_format: OutputFormat) -> None:
    alpha = Image.new("L", (20, 10))
    alpha.paste(255, (0, 0, 10, 10))

    data = pictures.encode(gradient(64, 32), output_format, alpha=alpha)
    back = pictures.decode_all(data, name="x").alpha

    assert back is not None
    assert back.size == (64, 32)
    assert (back.getpixel((4, 16)), back.getpixel((60, 16))) == (255, 0)


def test_what_shows_through_is_no_part_of_the_colours() -> None:
    shadow = Image.new("RGBA", (SIDE, SIDE), (40, 10, 0, 100))
    laid = pictures.decode_all(saved(shadow, "PNG"), name="x")

    data = pictures.encode(laid.picture, OutputFormat.PNG, alpha=laid.alpha)
    back = Image.open(BytesIO(data))
    pixel = back.getpixel((0, 0))

    assert isinstance(pixel, tuple)
    assert all(abs(a - b) <= 3 for a, b in zip(pixel, (40, 10, 0, 100), strict=True))
    assert pictures.decode(data, name="x").tobytes() == laid.picture.tobytes()


def test_the_transparency_is_upright_too() -> None:
    stored = Image.new("RGBA", (64, 32), (0, 0, 0, 255))
    stored.putpixel((0, 0), (0, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn

    alpha = pictures.decode_all(saved(stored, "PNG", exif=exif), name="x").alpha

    assert alpha is not None
    assert alpha.size == (32, 64)
    assert (alpha.getpixel((31, 0)), alpha.getpixel((0, 0))) == (0, 255)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_where_nothing_is_transparent_there_is_no_alpha(mode: str) -> None:
    data = saved(gradient().convert(mode), "PNG")

    assert pictures.decode_all(data, name="x").alpha is None


def test_a_jpeg_with_transparency_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="JPEG has no transparency"):
        pictures.encode(gradient(), OutputFormat.JPEG, alpha=Image.new("L", (SIDE, SIDE)))
