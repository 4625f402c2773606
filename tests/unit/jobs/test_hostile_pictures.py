"""Files that were damaged or made to do damage."""

from __future__ import annotations

import struct
import warnings
import zlib
from typing import Final, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from jobs import pictures
from jobs.errors import OutOfResources, UnusablePicture
from tests.unit.jobs.picture_files import (
    animation,
    gradient,
    png_declaring,
    refusal,
    saved,
    swapped_profile,
)

VALID: Final = [
    *(saved(gradient(24, 20), file_format) for file_format in pictures.FORMATS),
    saved(gradient(24, 20), "JPEG", progressive=True),
    saved(gradient(24, 20).convert("CMYK"), "JPEG", icc_profile=swapped_profile()),
    saved(gradient(24, 20).convert("RGBA"), "PNG", icc_profile=swapped_profile()),
    saved(gradient(24, 20).convert("P"), "PNG", transparency=3),
    saved(Image.new("I;16", (24, 20), 999), "TIFF"),
    saved(gradient(24, 20), "TIFF", compression="tiff_lzw"),
    saved(gradient(24, 20), "TIFF", compression="jpeg"),
    saved(gradient(24, 20), "WEBP", lossless=True, icc_profile=swapped_profile()),
    *(animation(file_format) for file_format in ("GIF", "PNG", "WEBP", "TIFF")),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid file after up to six small accidents."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 6))):
        # Headers decide what is called, so most accidents happen there.
        reach = draw(st.sampled_from([32, 200, max(len(data), 1)]))
        at = draw(st.integers(0, max(min(reach, len(data)) - 1, 0)))
        match draw(st.sampled_from(["set", "set", "set", "cut", "insert", "remove", "repeat"])):
            case "set":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[max(at, 8) :]
            case "insert":
                data[at:at] = draw(st.binary(max_size=8))
            case "remove":
                del data[at : at + draw(st.integers(1, 8))]
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


@pytest.mark.parametrize("on_warning", ["error", "ignore"])
def test_a_damaged_file_is_refused_or_decoded_as_announced(
    on_warning: Literal["error", "ignore"],
) -> None:
    @settings(max_examples=500, suppress_health_check=list(HealthCheck))
    @given(damaged())
    def holds(data: bytes) -> None:
        try:
            info = pictures.inspect(data, name="x")
        except UnusablePicture:
            return
        image = pictures.decode(data, name="x")
        assert image.mode == "RGB"
        assert image.size == (info.width, info.height)

    with warnings.catch_warnings():
        warnings.simplefilter(on_warning)
        holds()


@pytest.mark.parametrize(
    "fault",
    [
        AssertionError,
        AttributeError,
        BufferError,
        EOFError,
        IndexError,
        KeyError,
        NotImplementedError,
        OSError,
        OverflowError,
        RecursionError,
        SyntaxError,
        TypeError,
        UnicodeError,
        UserWarning,
        ValueError,
        ZeroDivisionError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
        UnidentifiedImageError,
    ],
)
@pytest.mark.parametrize("step", ["_open", "load"])
def test_whatever_pillow_raises_is_a_refusal(
    step: str, fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_image: Image.Image) -> None:
        raise fault("a\x1b[31mb")

    monkeypatch.setattr(PngImageFile, step, fail)

    message = refusal(saved(gradient(), "PNG"))

    assert message.startswith("shirt.jpg: ")
    assert message.isprintable()


@pytest.mark.parametrize("step", ["_open", "load"])
def test_a_lack_of_memory_says_nothing_of_the_file(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_image: Image.Image) -> None:
        raise MemoryError

    data = saved(gradient(), "PNG")
    monkeypatch.setattr(PngImageFile, step, fail)

    with pytest.raises(OutOfResources, match=r"shirt\.jpg: no memory left to decode it"):
        pictures.decode(data, name="shirt.jpg")


def test_pillows_settings_are_left_alone() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    refusal(png_declaring(60_000, 60_000))

    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
