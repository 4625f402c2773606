"""The folder of a build is found wherever a file names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from envpack.node.model import Prefix
from envpack.pack.errors import NotPackable
from envpack.pack.sources import CHUNK, Source
from envpack.pack.survey import PLACEHOLDER, Leaks, Surveyed, survey

FOLDER = b"/build/here/env"
LEAKS = Leaks(folders=(FOLDER.decode(),))
#: Where the name begins, before a file's second piece does.
CUTS = [1, len(FOLDER) // 2, len(FOLDER) - 1, len(FOLDER)]


def surveyed(content: bytes | Path) -> Surveyed:
    (one,) = survey([Source(path="lib/x", content=content)], LEAKS)
    return one


@pytest.mark.parametrize(
    "after",
    [
        b"",
        b"\0",
        b"/lib",
        b"q\x01.",  # as pickle goes on, which writes a string's length before it
        b"Cannot open",  # as the next string of a program in Rust or Go
    ],
)
def test_bytes_that_name_it_are_refused_whatever_follows(after: bytes) -> None:
    with pytest.raises(NotPackable, match="lib/x"):
        surveyed(b"\xff\0" + FOLDER + after)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("pieces", [1, 2])
def test_bytes_of_a_long_file_are_read_over_its_pieces_ends(
    tmp_path: Path, cut: int, pieces: int
) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(pieces * CHUNK - cut) + FOLDER)

    with pytest.raises(NotPackable, match="lib/x"):
        surveyed(path)


@pytest.mark.parametrize("cut", CUTS)
def test_text_of_a_long_file_gets_its_placeholder_over_a_piece_s_end(
    tmp_path: Path, cut: int
) -> None:
    path, start = tmp_path / "x", b"x" * (CHUNK - cut)
    path.write_bytes(start + FOLDER + b"/lib\n")

    found = surveyed(path).source

    assert found.read() == start + PLACEHOLDER.encode() + b"/lib\n"
    assert found.prefix == Prefix(PLACEHOLDER, "text")


def test_text_that_names_a_neighbour_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * (CHUNK - len(FOLDER)) + FOLDER + b"ironments")  # over a piece's end

    found = surveyed(path)

    assert (found.source.content, found.record.prefix) == (path, None)


def test_text_that_is_not_utf_8_is_refused_like_bytes() -> None:
    with pytest.raises(NotPackable):
        surveyed(b"caf\xe9 " + FOLDER + b"/lib")
