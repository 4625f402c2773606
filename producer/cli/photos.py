"""The photographs a caller names: files, folders, or standard input."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import BinaryIO, Final, TypeAlias

from jobs import pictures
from jobs.errors import InvalidRequest, JobsError
from producer.inputs import Picture

STDIN: Final = "-"
#: What counts as a picture inside a folder.  The foreign ones are here so that they are
#: refused by name, not left out in silence.
EXTENSIONS: Final = re.compile(
    r"\.(jpe?g|jpe|jfif|png|webp|tiff?|avif|bmp|gif|mpo|hei[cf]|jxl|jp2)", re.IGNORECASE
)

#: A photograph as the caller wrote it, and its picture or why there is none.
Named: TypeAlias = tuple[str, Picture | JobsError]


def named(
    photos: Iterable[str], stdin: Callable[[], BinaryIO], *, recursive: bool = False
) -> Iterator[Named]:
    """In the caller's order; a folder's pictures sorted by path.

    Files are not opened here; a folder that cannot be listed, or holds no picture, is an
    error in its place.
    """
    for photo in photos:
        if photo == STDIN:
            yield "stdin", from_stdin(stdin)
        elif os.path.isdir(photo):  # noqa: PTH112 - false for a NUL, where Path would raise
            yield from _inside(photo, recursive=recursive)
        else:
            yield photo, Picture.at(photo)


def from_stdin(stdin: Callable[[], BinaryIO]) -> Picture | JobsError:
    try:
        data = pictures.read_stream(stdin(), name="stdin")
    except JobsError as error:
        return error
    return Picture(name="stdin", data=data)


def _inside(folder: str, *, recursive: bool) -> Iterator[Named]:
    try:
        found = _pictures_in(Path(folder), recursive=recursive)
    except OSError as fault:
        yield folder, InvalidRequest(f"{folder}: cannot be listed: {fault.strerror}")
        return
    if not found:
        hint = "" if recursive else "; --recursive looks into folders inside it"
        yield folder, InvalidRequest(f"{folder}: no picture in this folder{hint}")
    for path in found:
        yield str(path), Picture.at(path)


def _pictures_in(folder: Path, *, recursive: bool) -> Sequence[Path]:
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=_raise):
        found += [Path(place, name) for name in files if _is_picture(name)]
        folders[:] = [name for name in folders if not name.startswith(".")] if recursive else []
    return sorted(found)


def _is_picture(name: str) -> bool:
    """Hidden files are none: macOS leaves a ``._shirt.jpg`` beside each picture."""
    suffix = PurePath(name).suffix
    return not name.startswith(".") and EXTENSIONS.fullmatch(suffix) is not None


def _raise(fault: OSError) -> None:
    raise fault
