from __future__ import annotations

import os
import random
import struct
import threading
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Final, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from jobs import pictures
from jobs.errors import UnusablePicture
from jobs.model import OutputFormat

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


# --- what is taken ----------------------------------------------------------------------


@pytest.mark.parametrize("file_format", pictures.FORMATS)
def test_each_supported_format_is_described(file_format: str) -> None:
    data = saved(gradient(), file_format)

    info = pictures.inspect(data, name="x")

    assert info == pictures.PictureInfo(
        format=file_format,
        media_type=f"image/{file_format.lower()}",
        width=48,
        height=40,
        size_bytes=len(data),
    )


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_a_lossless_picture_is_decoded_to_its_very_pixels(file_format: str) -> None:
    image = pictures.decode(saved(gradient(), file_format), name="x")

    assert image.mode == "RGB"
    assert image.tobytes() == gradient().tobytes()


def test_a_phones_multi_picture_file_is_read_as_its_first_picture() -> None:
    first = Image.new("RGB", (SIDE, SIDE), GREY)
    data = saved(first, "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16), RED)])

    info = pictures.inspect(data, name="x")

    assert (info.format, info.width) == ("JPEG", SIDE)
    assert first_pixel(data) == GREY


def test_the_decoded_picture_keeps_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    data = saved(gradient(), "PNG", exif=exif, dpi=(300, 300), icc_profile=b"broken")

    image = pictures.decode(data, name="x")

    assert image.info == {}
    assert not image.getexif()
    assert not isinstance(image, ImageFile.ImageFile)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_does_not_cost_the_picture(file_format: str) -> None:
    data = saved(gradient(), file_format, exif=b"Exif\0\0this is no TIFF header")

    assert pictures.inspect(data, name="x").width == 48
    assert pictures.decode(data, name="x").size == (48, 40)


# --- what is refused --------------------------------------------------------------------


def test_an_empty_file_is_refused() -> None:
    assert refusal(b"") == "shirt.jpg: the file is empty"


def test_a_text_is_refused_with_the_list_of_formats() -> None:
    message = refusal(b"Dear Sir or Madam,")

    assert message.startswith("shirt.jpg: not a picture")
    assert all(name in message for name in pictures.FORMATS)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b'<?xml version="1.0"?>\n<svg xmlns=""/>', "SVG"),
        (b"\xff\x0a\0\0", "JPEG XL"),
    ],
)
def test_a_known_foreign_format_is_named(head: bytes, what: str) -> None:
    assert what in refusal(head)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("file_format", pictures.FORMATS)
def test_a_truncated_file_is_found_at_submit(file_format: str, kept: float) -> None:
    noise = Image.frombytes("RGB", (160, 120), random.Random(0).randbytes(160 * 120 * 3))
    data = saved(noise, file_format)

    message = refusal(data[: int(len(data) * kept)])

    assert message.startswith("shirt.jpg: ")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_its_last_bytes_is_called_truncated(*, progressive: bool) -> None:
    data = saved(gradient(640, 480), "JPEG", progressive=progressive)

    assert "the JPEG file is truncated" in refusal(data[:-20])


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((8_193, 8_192), id="just above our limit"),
        pytest.param((10_000, 10_000), id="where Pillow warns"),
        pytest.param((60_000, 60_000), id="where Pillow raises"),
        pytest.param((2**31 - 1, 2**31 - 1), id="the largest header"),
    ],
)
def test_a_decompression_bomb_is_refused_on_its_header(size: tuple[int, int]) -> None:
    width, height = size

    message = refusal(png_declaring(width, height))

    assert message == f"shirt.jpg: {width}×{height} pixels; at most 67.1 million pixels"


def test_a_bomb_is_refused_in_the_same_words_on_every_thread() -> None:
    data = png_declaring(10_000, 10_000)
    start = threading.Barrier(4)

    def refuse() -> set[str]:
        start.wait()
        return {refusal(data) for _ in range(50)}

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(refuse) for _ in range(4)]

    assert len(set[str]().union(*(answer.result() for answer in answers))) == 1


def test_a_gif_frame_larger_than_its_screen_is_a_bomb_too() -> None:
    data = bytearray(saved(Image.new("P", (SIDE, SIDE)), "GIF"))
    frame = data.rindex(b",\0\0\0\0")
    struct.pack_into("<HH", data, frame + 5, 60_000, 60_000)

    assert "at most 67.1 million pixels" in refusal(bytes(data))


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_refused_with_its_number_of_frames(file_format: str) -> None:
    message = refusal(animation(file_format), "spin")

    assert message == (
        f"spin: the {file_format} file holds 3 frames; submit one picture: save a single frame"
    )


def test_a_tiff_of_several_pages_is_refused() -> None:
    assert "more than one page" in refusal(animation("TIFF"))


def test_an_animated_format_with_one_frame_is_taken() -> None:
    assert pictures.inspect(saved(ANIMATION[0], "GIF"), name="x").format == "GIF"


@pytest.mark.parametrize(
    ("size", "limit"),
    [
        ((1, 1), "each side must be 16 to 16,384 pixels"),
        ((15, 64), "each side must be 16 to 16,384 pixels"),
        ((20_000, 10), "each side must be 16 to 16,384 pixels"),
        ((16_385, 3_000), "each side must be 16 to 16,384 pixels"),
        ((145, 18), "the longer side may be 8 times the shorter"),
        ((18, 145), "the longer side may be 8 times the shorter"),
    ],
)
def test_an_impossible_shape_is_refused_with_the_limit(size: tuple[int, int], limit: str) -> None:
    message = refusal(png_declaring(*size))

    assert message == f"shirt.jpg: {size[0]}×{size[1]} pixels; {limit}"


@pytest.mark.parametrize("size", [(16, 16), (144, 18), (18, 144)])
def test_a_shape_at_the_limit_is_taken(size: tuple[int, int]) -> None:
    assert pictures.decode(saved(gradient(*size), "PNG"), name="x").size == size


def test_more_bytes_than_the_limit_are_refused() -> None:
    data = saved(gradient(), "PNG") + bytes(pictures.MAX_BYTES)

    assert refusal(data) == "shirt.jpg: more than 64 MiB, the limit for a file"


def test_a_name_cannot_write_to_the_terminal() -> None:
    assert refusal(b"", "a\x1b[31m\nb.jpg") == "a?[31m?b.jpg: the file is empty"


# --- how colours are read ---------------------------------------------------------------


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


# --- profiles ---------------------------------------------------------------------------


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


# --- upright ----------------------------------------------------------------------------

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


# --- hostile files ----------------------------------------------------------------------

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
    @settings(
        max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
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
        MemoryError,
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


def test_pillows_settings_are_left_alone() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    refusal(png_declaring(60_000, 60_000))

    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


# --- reading ----------------------------------------------------------------------------


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "mug.png"
    path.write_bytes(saved(gradient(), "PNG"))

    assert pictures.read_file(path) == saved(gradient(), "PNG")


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: reading it would take hours

    with pytest.raises(UnusablePicture, match=r"huge\.tif: more than 64 MiB"):
        pictures.read_file(path)


def test_a_refused_file_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    with path.open("wb") as file:
        file.truncate(2**40)
    tracemalloc.start()

    with pytest.raises(UnusablePicture):
        pictures.read_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2**20


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing.png", "No such file"),
        ("folder", "Is a directory"),
        ("pipe", "not a regular file"),
        ("nul\0.png", "cannot be read"),
        ("empty.png", "the file is empty"),
    ],
)
def test_a_path_that_is_no_picture_is_named(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty.png").touch()

    with pytest.raises(UnusablePicture, match=problem) as refused:
        pictures.read_file(tmp_path / name)

    assert name.replace("\0", "?") in str(refused.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.touch(mode=0o000)

    with pytest.raises(UnusablePicture, match="Permission denied"):
        pictures.read_file(path)


# --- writing ----------------------------------------------------------------------------


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
