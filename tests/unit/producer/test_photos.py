from __future__ import annotations

import io
from pathlib import Path

import pytest

from jobs import pictures
from jobs.errors import InvalidRequest, JobsError, UnusablePicture
from producer.cli import photos
from producer.inputs import Picture


def named(*names: object, stdin: bytes = b"", recursive: bool = False) -> list[photos.Named]:
    found = photos.named(
        [str(name) for name in names], lambda: io.BytesIO(stdin), recursive=recursive
    )
    return list(found)


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_a_file_is_taken_as_it_is_named_and_not_yet_opened() -> None:
    assert named("no such file") == [("no such file", Picture.at("no such file"))]


def test_a_folder_gives_its_pictures_in_order_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path, "b.png", "a.JPG", "notes.txt", ".hidden.png", "._a.JPG", "sub/c.png", "noext")

    assert [Path(name).name for name, _ in named(tmp_path)] == ["a.JPG", "b.png"]


def test_a_picture_we_cannot_read_is_not_left_out_in_silence(tmp_path: Path) -> None:
    assert len(named(make(tmp_path, "phone.HEIC"))) == 1


def test_recursive_looks_into_folders_but_not_into_hidden_ones(tmp_path: Path) -> None:
    make(tmp_path, "b.png", "sub/deep/c.png", ".git/d.png")
    found = [str(Path(name).relative_to(tmp_path)) for name, _ in named(tmp_path, recursive=True)]

    assert found == ["b.png", "sub/deep/c.png"]


def test_a_folder_without_a_picture_is_an_error_that_names_it(tmp_path: Path) -> None:
    empty, full = make(tmp_path / "empty", "x.txt"), make(tmp_path / "full", "a.png")
    (_, error), (_, picture) = named(empty, full)

    assert isinstance(error, InvalidRequest)
    assert str(error).startswith(f"{empty}: no picture in this folder; --recursive")
    assert isinstance(picture, Picture)


def test_a_folder_that_cannot_be_listed_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    ((_, error),) = named(tmp_path)

    assert str(error) == f"{tmp_path}: cannot be listed: Permission denied"


def test_a_dash_is_standard_input() -> None:
    assert named("-", stdin=b"bytes") == [("stdin", Picture(name="stdin", data=b"bytes"))]


def test_standard_input_has_the_limit_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_BYTES", 4)
    ((_, error),) = named("-", stdin=b"bytes")

    assert isinstance(error, UnusablePicture)
    assert isinstance(error, JobsError)
