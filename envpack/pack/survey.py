"""Reads every file of a layer once: its sha256 for the manifest, and what it must not hold.

Nothing may name the folder that the environment was built in.  Text gets a placeholder, which the
host replaces by its own folder; bytes that name it are refused, with all the others at once.  In
bytes a string ends where its reader knows, so whatever follows the folder's name tells nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

from envpack.node.model import FileRecord, Prefix
from envpack.pack.errors import NotPackable, named
from envpack.pack.sources import Source

#: What stands for the host's folder in text that pip installed: as long as conda's own.
PLACEHOLDER: Final = ("/opt/" + "_packshot_env_placehold_" * 11)[:255]
_MAX_TEXT: Final = 64 << 20  # bytes; a longer file that names the prefix is no text
_GROUP: Final = 64  # files that a thread reads at a time: handing out each would cost more


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """A leak that somebody looked at: files that may name the build's folder, and why."""

    pattern: str  #: as in ``fnmatch``, on the whole path
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Surveyed:
    """A file as it will be packed."""

    source: Source
    record: FileRecord


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """Finds the folders that must not be named."""

    folders: tuple[str, ...] = ()
    allowed: tuple[Allowed, ...] = ()

    @cached_property
    def needles(self) -> list[bytes]:
        return [folder.encode() for folder in self.folders]

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """In text: ``/opt/env`` is not named by ``/opt/environments``."""
        either = b"|".join(re.escape(one) for one in sorted(self.needles, reverse=True))
        return re.compile(b"(?:" + either + rb")(?![A-Za-z0-9_-])")

    def permits(self, path: str) -> bool:
        return any(fnmatchcase(path, one.pattern) for one in self.allowed)


def folders_of(prefix: Path) -> tuple[str, ...]:
    """The spellings of a folder: as it was given, and with its links resolved."""
    spellings = dict.fromkeys((os.path.abspath(prefix), str(prefix.resolve())))  # noqa: PTH100
    return tuple(spellings)


def survey(sources: Sequence[Source], leaks: Leaks) -> list[Surveyed]:
    """Each source, its prefix replaced where it is text, in the order given.

    Raises ``NotPackable``: names the build's folder in bytes, is not what its package published.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        groups = [sources[first : first + _GROUP] for first in range(0, len(sources), _GROUP)]
        looks = pool.map(lambda group: [_look(source, leaks) for source in group], groups)
        looked = [look for group in looks for look in group]
    _refuse_corrupt(looked)
    repaired = [_repaired(one, leaks) if one.leaks else one.surveyed for one in looked]
    leaking = [
        source.path for source, found in zip(sources, repaired, strict=True) if found is None
    ]
    if leaking:
        raise NotPackable(
            f"these hold the folder that they were built in, as bytes: {named(leaking)}. Take a"
            " wheel that was built elsewhere, or say why they may: --allow-leak PATTERN=REASON"
        )
    return [one for one in repaired if one is not None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    source: Source
    sha256: str
    size: int
    leaks: bool

    @property
    def surveyed(self) -> Surveyed:
        source = self.source
        record = FileRecord(source.path, self.sha256, self.size, source.mode, source.prefix)
        return Surveyed(source=source, record=record)


def _look(source: Source, leaks: Leaks) -> _Look:
    digest, size, found, tail = sha256(), 0, False, b""
    needles = leaks.needles
    overlap = max(map(len, needles), default=0) - 1
    for chunk in source.chunks():
        digest.update(chunk)
        size += len(chunk)
        if needles and not found:
            window = tail + chunk if tail else chunk
            # Not by the pattern: a plain search is many times faster, and needs not what follows.
            found = any(one in window for one in needles)
            tail = window[-overlap:]
    return _Look(source=source, sha256=digest.hexdigest(), size=size, leaks=found)


def _refuse_corrupt(looked: Iterable[_Look]) -> None:
    corrupt = [one.source.path for one in looked if one.source.sha256 not in {None, one.sha256}]
    if corrupt:
        raise NotPackable(
            f"the package cache does not hold what was published, of {named(corrupt)}: it was"
            " changed or damaged. Remove those packages from the cache and build again"
        )


def _repaired(look: _Look, leaks: Leaks) -> Surveyed | None:
    """With the placeholder; ``None`` if that cannot be done."""
    source = look.source
    # A file as its package published it cannot know this build: it names the folder by chance.
    if source.sha256 is not None or leaks.permits(source.path):
        return look.surveyed
    if look.size > _MAX_TEXT:
        return None
    data = source.read()
    if b"\0" in data or not _is_text(data):
        return None
    content, count = leaks.pattern.subn(PLACEHOLDER.encode(), data)
    if not count:
        return look.surveyed
    return surveyed(replace(source, content=content, prefix=Prefix(PLACEHOLDER, "text")))


def surveyed(source: Source) -> Surveyed:
    """Of a small file."""
    data = source.read()
    record = FileRecord(
        source.path, sha256(data).hexdigest(), len(data), source.mode, source.prefix
    )
    return Surveyed(source=source, record=record)


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
