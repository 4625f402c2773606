from __future__ import annotations

import struct
from io import BytesIO

import pytest
from PIL import Image

from jobs import picture_structure as structure
from jobs import pictures
from jobs.errors import UnusablePicture


def saved(file_format: str, **options: object) -> bytes:
    file = BytesIO()
    Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 50).save(file, file_format, **options)
    return file.getvalue()


def tiff(*extra: tuple[int, int, int, int]) -> bytes:
    """Tags of a one-strip picture, and others: (tag, type, count, value)."""
    tags = {tag: (tag, 4, 1, value) for tag, value in ((256, 64), (257, 64), (258, 8), (262, 1))}
    tags |= {item[0]: item for item in extra}
    entries = b"".join(struct.pack("<HHII", *tags[tag]) for tag in sorted(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(64 * 64)


def refusal(data: bytes) -> str:
    with pytest.raises(UnusablePicture) as refused:
        pictures.inspect(data, name="x")
    return str(refused.value)


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    data = saved("JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]

    assert refusal(data[:-2] + last_scan * 2_000) == "x: the JPEG file holds more than 50 scans"


def test_a_progressive_jpeg_is_taken() -> None:
    assert structure.fault_of_jpeg(saved("JPEG", progressive=True, quality=100)) is None


def test_a_long_scan_is_no_junk() -> None:
    file = BytesIO()
    Image.effect_noise((512, 512), 90).save(file, "JPEG", quality=98)

    assert len(file.getvalue()) > 2 * structure.MAX_JUNK
    assert structure.fault_of_jpeg(file.getvalue()) is None


@pytest.mark.parametrize(
    ("filler", "limit"),
    [
        (b"\xff\xfe\0\2", "more than 65,536 segments"),
        (b"\xff\0\0\0", "more than 65,536 bytes of junk"),
        (b"\xff\xff\xff\xff", "more than 65,536 bytes of junk"),
    ],
)
def test_a_jpeg_of_empty_parts_is_refused(filler: bytes, limit: str) -> None:
    data = saved("JPEG")

    assert limit in refusal(data[:2] + filler * 70_000 + data[2:])


def test_a_jpeg_of_nothing_but_junk_is_refused() -> None:
    assert "junk" in refusal(saved("JPEG")[:20] + bytes(2**20))


def test_what_a_phone_appends_after_a_jpeg_is_not_judged() -> None:
    film = b"\xff\xda\0\2" * 100_000

    assert structure.fault_of_jpeg(saved("JPEG") + film) is None


@pytest.mark.parametrize("at", [33, -12], ids=["before the pixels", "after the pixels"])
def test_a_png_of_empty_chunks_is_refused(at: int) -> None:
    data = saved("PNG")
    empty = struct.pack(">I4sI", 0, b"abCd", 0x3A2B8E1F)

    assert "more than 65,536 chunks" in refusal(data[:at] + empty * 70_000 + data[at:])


@pytest.mark.parametrize(
    ("tag", "fault"),
    [
        ((273, 4, 2_000_000, 300), "2,000,000 strips; at most 65,536"),
        ((322, 4, 1, 60_000), "tiles of 60,000 pixels; at most 4,096"),
        ((323, 3, 1, 60_000), "tiles of 60,000 pixels; at most 4,096"),
        ((254, 4, 1, 1), "only a preview: a camera's raw file? Develop it to JPEG or PNG"),
    ],
)
def test_a_tiff_that_would_be_slow_or_misread_is_refused(
    tag: tuple[int, int, int, int], fault: str
) -> None:
    assert refusal(tiff(tag)) == f"x: the TIFF file holds {fault}"


def test_a_tiff_of_thousands_of_tags_is_refused() -> None:
    data = tiff(*((tag, 1, 1, 0) for tag in range(40_000, 42_000)))

    assert "2,004 tags; at most 1,024" in refusal(data)


def test_a_tiff_is_read_in_its_own_byte_order() -> None:
    assert structure.fault_of_tiff(b"MM\0*\0\0\0\x08" + struct.pack(">H", 2_000)) is not None


@pytest.mark.parametrize("method", [1, 2])
def test_a_run_length_bitmap_is_refused(method: int) -> None:
    data = bytearray(saved("BMP"))
    data[30] = method

    assert "run-length compressed pixels" in refusal(bytes(data))


def test_a_gif_of_many_bytes_is_refused() -> None:
    assert "more than 8 MiB" in refusal(saved("GIF") + bytes(8 * 2**20))


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("GIF", {}),
    ],
)
def test_an_ordinary_file_cut_anywhere_is_left_to_the_decoder(
    file_format: str, options: dict[str, object]
) -> None:
    data = saved(file_format, **options)
    judge = {
        "JPEG": structure.fault_of_jpeg,
        "PNG": structure.fault_of_png,
        "TIFF": structure.fault_of_tiff,
        "BMP": structure.fault_of_bmp,
        "GIF": structure.fault_of_gif,
    }[file_format]

    assert {judge(data[:length]) for length in range(len(data) + 1)} == {None}
