"""What is taken, what is refused, and how files are read."""

from __future__ import annotations

import os
import random
import struct
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from jobs import pictures
from jobs.errors import UnusablePicture
from tests.unit.jobs.picture_files import (
    ANIMATION,
    GREY,
    RED,
    SIDE,
    animation,
    first_pixel,
    gradient,
    png_declaring,
    refusal,
    saved,
)


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
