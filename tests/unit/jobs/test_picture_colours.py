"""Whatever a picture is stored as, it comes out in RGB, in sRGB, on white, upright."""

from __future__ import annotations

from typing import Final

import pytest
from PIL import Image, ImageCms

from jobs import pictures
from tests.unit.jobs.picture_files import (
    GREEN,
    RED,
    SIDE,
    first_pixel,
    gradient,
    linear_grey_profile,
    saved,
    swapped_profile,
)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("deep", "level"), [(0, 0), (128, 0), (257, 1), (32_768, 128), (65_406, 254), (65_535, 255)]
)
def test_sixteen_bits_are_scaled_not_clipped(file_format: str, deep: int, level: int) -> None:
    data = saved(Image.new("I;16", (SIDE, SIDE), deep), file_format)

    assert first_pixel(data) == (level,) * 3


@pytest.mark.parametrize(
    ("mode", "white", "middle", "level"),
    [
        ("I", 255, 100, 100),
        ("I", 65_535, 300, 1),
        ("I", 2**31 - 1, 2**30, 128),
        ("F", 1.0, 0.25, 64),
        ("F", 255.0, 99.7, 100),
        ("F", 65_535.0, 257.0, 1),
        ("F", 1.0, -3.0, 0),
    ],
)
def test_wide_greys_are_scaled_by_the_least_usual_white(
    mode: str, white: float, middle: float, level: int
) -> None:
    image = Image.new(mode, (SIDE, SIDE), middle)
    image.putpixel((1, 0), white)

    decoded = pictures.decode(saved(image, "TIFF"), name="x")

    assert decoded.getpixel((0, 0)) == (level,) * 3
    assert decoded.getpixel((1, 0)) == (255,) * 3


@pytest.mark.parametrize(
    ("mode", "color", "seen"),
    [
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
        ("LA", (0, 128), (127, 127, 127)),
        ("LA", (100, 255), (100, 100, 100)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("1", 0, (0, 0, 0)),
    ],
)
def test_each_mode_becomes_rgb_on_white(
    mode: str, color: int | tuple[int, ...], seen: tuple[int, int, int]
) -> None:
    assert first_pixel(saved(Image.new(mode, (SIDE, SIDE), color), "PNG")) == seen


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_a_palette_is_resolved_and_its_hole_is_white(file_format: str) -> None:
    image = Image.new("P", (SIDE, SIDE), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])

    assert first_pixel(saved(image, file_format)) == (10, 20, 30)
    assert first_pixel(saved(image, file_format, transparency=1)) == (255, 255, 255)


def test_a_colour_declared_transparent_is_white() -> None:
    image = Image.new("RGB", (SIDE, SIDE), (9, 8, 7))

    assert first_pixel(saved(image, "PNG", transparency=(9, 8, 7))) == (255, 255, 255)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_without_a_profile_is_converted(file_format: str) -> None:
    image = Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0))

    assert first_pixel(saved(image, file_format, quality=100)) == RED


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_embedded_rgb_profile_is_converted_to_srgb(file_format: str) -> None:
    data = saved(
        Image.new("RGB", (SIDE, SIDE), RED),
        file_format,
        quality=100,
        icc_profile=swapped_profile(),
    )

    red, green, blue = pictures.decode(data, name="x").getpixel((5, 5))  # type: ignore[misc]

    assert red < 12
    assert green > 243
    assert blue < 12


def test_colours_are_converted_and_the_alpha_is_not() -> None:
    image = Image.new("RGBA", (SIDE, SIDE), (255, 0, 0, 128))

    assert first_pixel(saved(image, "PNG", icc_profile=swapped_profile())) == (127, 255, 127)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_an_embedded_grey_profile_is_converted_to_srgb(mode: str) -> None:
    color = 55 if mode == "L" else (55, 255)
    image = Image.new(mode, (SIDE, SIDE), color)

    level, *_ = pictures.decode(
        saved(image, "PNG", icc_profile=linear_grey_profile()), name="x"
    ).getpixel((0, 0))  # type: ignore[misc]

    assert abs(level - 128) <= 1  # linear 55/255 is sRGB's 128


def test_an_srgb_profile_changes_no_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    image = pictures.decode(saved(gradient(), "PNG", icc_profile=profile), name="x")

    assert image.tobytes() == gradient().tobytes()


def test_a_profile_that_calls_itself_srgb_is_believed() -> None:
    profile = swapped_profile(named="sRGB")

    image = pictures.decode(saved(gradient(), "PNG", icc_profile=profile), name="x")

    assert image.tobytes() == gradient().tobytes()


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"no profile at all" * 20, id="junk"),
        pytest.param(swapped_profile()[:300], id="cut"),
        pytest.param(linear_grey_profile(), id="of another colour space"),
        pytest.param(
            ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), id="abstract"
        ),
    ],
)
def test_a_profile_that_cannot_be_used_is_ignored(profile: bytes) -> None:
    image = pictures.decode(saved(gradient(), "PNG", icc_profile=profile), name="x")

    assert image.tobytes() == gradient().tobytes()


#: EXIF orientation → corners where the stored picture's top left and top right belong.
CORNERS: Final = {
    1: ("top left", "top right"),
    2: ("top right", "top left"),
    3: ("bottom right", "bottom left"),
    4: ("bottom left", "bottom right"),
    5: ("top left", "bottom left"),
    6: ("top right", "bottom right"),
    7: ("bottom right", "top right"),
    8: ("bottom left", "top left"),
}


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", CORNERS)
def test_the_picture_comes_out_upright(orientation: int, file_format: str) -> None:
    stored = Image.new("RGB", (64, 32), "white")
    stored.paste(RED, (0, 0, 16, 16))
    stored.paste(GREEN, (48, 0, 64, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(stored, file_format, exif=exif, quality=100)

    info = pictures.inspect(data, name="x")
    image = pictures.decode(data, name="x")

    assert image.size == ((64, 32) if orientation <= 4 else (32, 64))
    assert (info.width, info.height) == image.size
    for color, corner in zip((RED, GREEN), CORNERS[orientation], strict=True):
        x = 7 if "left" in corner else image.width - 8
        y = 7 if "top" in corner else image.height - 8
        pixel = image.getpixel((x, y))
        assert isinstance(pixel, tuple)
        assert all(abs(a - b) < 12 for a, b in zip(pixel, color, strict=True))
