"""Where results are saved: one file, a folder, or standard output."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from jobs.errors import InvalidRequest
from jobs.model import OutputFormat
from producer.arguments import pictures
from producer.cli.entries import Entry, stem
from producer.cli.photos import EXTENSIONS

STDOUT: Final = "-"
ITSELF: Final = "-o {}: is the photograph itself; name another file"
FORMATS: Final = {
    ".png": OutputFormat.PNG,
    ".jpg": OutputFormat.JPEG,
    ".jpeg": OutputFormat.JPEG,
    ".webp": OutputFormat.WEBP,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Out:
    """What ``-o`` means.  ``path`` is ``None`` for standard output."""

    path: Path | None
    is_folder: bool

    @classmethod
    def of(cls, text: str, *, several: bool) -> Out:
        """A file for one job; a folder for several, or where the text says so.

        Raises ``InvalidRequest`` for a name that would not say what is saved there.
        """
        if text == STDOUT:
            if several:
                raise InvalidRequest("-o -: standard output takes one picture")
            return cls(path=None, is_folder=False)
        path = Path(text)
        # Not Path.is_dir: it raises for a folder that is closed to us, which prepare() tells of.
        says_so = text.endswith(("/", os.sep)) or os.path.isdir(text)  # noqa: PTH112
        if not says_so:
            _check_name(path, text, several=several)
        return cls(path=path, is_folder=several or says_so)

    @property
    def format(self) -> OutputFormat | None:
        """What a file's name asks for."""
        if self.path is None or self.is_folder:
            return None
        return FORMATS.get(self.path.suffix.lower())

    def check(self, made: OutputFormat) -> None:
        """The name says what is saved there.  Raises ``InvalidRequest``."""
        if self.path is not None and self.format not in {None, made}:
            suffix = next(suffix for suffix, one in FORMATS.items() if one is made)
            name = self.path.with_suffix(suffix).name
            raise InvalidRequest(f"-o {self.path}: the picture is {made.value}; name it {name}")

    def prepare(self, sources: Iterable[Path] = ()) -> None:
        """Find out before any work whether results can be saved.  Raises ``InvalidRequest``."""
        if self.path is None:
            if sys.stdout.isatty():
                raise InvalidRequest("-o -: a picture is nothing for a terminal; name a file")
            return
        folder = self.path if self.is_folder else self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise InvalidRequest(f"-o {folder}: no folder: {fault.strerror}") from fault
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InvalidRequest(f"-o {folder}: this folder cannot be written to")
        if not self.is_folder and _real(self.path) in {_real(one) for one in sources}:
            raise InvalidRequest(ITSELF.format(self.path))

    def places(self, entries: Sequence[Entry]) -> list[Path | None]:
        """A file for each entry with a job: two never share one, and none is a source.

        Raises ``InvalidRequest`` where the name is one of another format, or of a source.
        """
        digests = {one for entry in entries if entry.job for one in entry.job.request.pictures}
        if self.path is None or not self.is_folder:
            for entry in entries:
                if entry.job:
                    self.check(entry.job.request.format)
            if self.path is not None and _holds(self.path, digests):
                raise InvalidRequest(ITSELF.format(self.path))
            return [self.path if entry.job else None for entry in entries]
        sources = (one for entry in entries for one in sources_of(entry))
        names = _Names(self.path, sources, digests)
        return [names.free(entry) if entry.job else None for entry in entries]


def _check_name(path: Path, text: str, *, several: bool) -> None:
    """A folder called ``red.png`` and a PNG file called ``red.tif`` are nobody's wish."""
    suffix = path.suffix.lower()
    if several and suffix in FORMATS:
        raise InvalidRequest(
            f"-o {text}: several pictures need a folder; for one of this name write {text}/"
        )
    if not several and suffix not in FORMATS and EXTENSIONS.fullmatch(suffix):
        raise InvalidRequest(f"-o {text}: pictures are saved as .png, .jpg or .webp")


def out_of(text: str | None, *, several: bool) -> Out | None:
    """What ``-o`` means, if it was given, ready to be written to."""
    if text is None:
        return None
    out = Out.of(text, several=several)
    out.prepare()
    return out


def sources_of(entry: Entry) -> list[Path]:
    """The files that an entry's edit reads."""
    read = pictures(entry.edit.pictures) if entry.edit else ()
    return [picture.path for picture in read if picture.path is not None]


def write(data: bytes, path: Path | None, stdout: Callable[[], BinaryIO]) -> None:
    """Whole or not at all: to a file of another name first.  Raises ``InvalidRequest``."""
    if path is None:
        stream = stdout()
        stream.write(data)
        stream.flush()
        return
    part = path.with_name(f".{uuid4().hex}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as fault:
        raise InvalidRequest(f"{path}: cannot be written: {fault.strerror}") from fault
    finally:
        part.unlink(missing_ok=True)


class _Names:
    """Gives each result of a folder a name of its own: ``mug.png``, ``mug-2.png``, …

    A source is known by its path where that was named, and by its bytes: who waits for a batch
    names no photograph, and may well save beside them.
    """

    def __init__(self, folder: Path, sources: Iterable[Path], digests: Container[str]) -> None:
        self.folder = folder
        self._digests = digests
        self._real_folder = Path(os.path.realpath(folder))
        self._taken = {_real(source) for source in sources}
        self._last: Counter[str] = Counter()

    def free(self, entry: Entry) -> Path:
        assert entry.job is not None, "only jobs have pictures"
        named = entry.name if entry.noun == "image" else entry.job.metadata.get("name", "")
        base = stem(named) or str(entry.job.id)
        while True:
            self._last[base] += 1
            number = "" if self._last[base] == 1 else f"-{self._last[base]}"
            name = f"{base}{number}.{entry.job.request.format.value}"
            place = str(self._real_folder / name).casefold()
            if place not in self._taken and not _holds(self.folder / name, self._digests):
                self._taken.add(place)
                return self.folder / name


def _holds(path: Path, digests: Container[str]) -> bool:
    """Whether the file that lies there has one of these contents; a pipe's are not looked at."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() in digests
    except OSError:
        return False


def _real(path: Path) -> str:
    """One spelling for one file; in lower case, as some file systems do not tell cases apart."""
    try:
        return os.path.realpath(path).casefold()
    except ValueError:  # a NUL in the path
        return str(path).casefold()
