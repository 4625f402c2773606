"""Brings a depot to where hosts read it, so that a reader never meets half of a release.

What is named by its content goes first, then the documents that name it, each after its
signature, releases last.  A run that was cut off is simply run again: only what is missing goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from envpack.node.errors import NotThere
from envpack.node.model import LAYERS, LayerDocument, Manifest, Release, checked_digest, parsed

#: In this order.  A signature goes before its document: alone it is good for nothing.
STAGES: Final = (
    ("archives/*", "files/*", "manifests/*.json"),
    ("reports/*/*", "releases/*.minisig"),
    ("layers/*.minisig",),
    ("layers/*.json",),
    ("releases/*.json",),
)
#: Named by their sha256: one that is there with its size is the one.
BY_CONTENT: Final = frozenset({"archives", "files", "manifests"})

_Document = TypeVar("_Document")


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One file of a depot."""

    path: str  #: in the depot
    size: int  #: bytes
    sha256: str | None  #: where its name says it

    @classmethod
    def of(cls, depot: Path, path: str) -> Item:
        folder, _, name = path.partition("/")
        digest = name.partition(".")[0] if folder in BY_CONTENT else None
        return cls(path=path, size=(depot / path).stat().st_size, sha256=digest)


class Destination(Protocol):
    """A folder, a host or a bucket that holds a depot."""

    where: str  #: for people; without secrets

    def send(self, depot: Path, items: Sequence[Item]) -> Sequence[Item]:
        """Bring those that are missing there or differ; those that went.

        Each appears whole or not at all, under its name, and what went is compared over there.
        Raises ``NotTrusted`` for a file that is not what its name says, ``Unreachable``.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    where: str
    files: int
    sent: int
    sent_bytes: int

    def as_json(self) -> dict[str, Any]:
        return {
            "where": self.where,
            "files": self.files,
            "sent": self.sent,
            "sent_bytes": self.sent_bytes,
        }


def ship(
    depot: Path,
    to: Destination,
    *,
    release: str | None = None,
    each: Callable[[Item], None] | None = None,
) -> Shipped:
    """The whole depot, or what one release needs; ``each`` is called for what went.

    Raises ``NotThere`` when the depot itself lacks a part of the release: then nothing went.
    """
    paths = whole(depot) if release is None else needed(depot, release)
    if not paths:
        raise NotThere(f"{depot}: nothing to ship: no depot, or an empty one")
    sent: list[Item] = []
    for stage in _stages(paths):
        went = to.send(depot, [Item.of(depot, path) for path in stage])
        for item in went:
            if each:
                each(item)
        sent += went
    return Shipped(
        where=to.where,
        files=len(paths),
        sent=len(sent),
        sent_bytes=sum(item.size for item in sent),
    )


def whole(depot: Path) -> list[str]:
    """Every file that belongs to a depot."""
    patterns = (pattern for stage in STAGES for pattern in stage)
    found = (one for pattern in patterns for one in depot.glob(pattern) if one.is_file())
    return sorted(
        one.relative_to(depot).as_posix() for one in found if not one.name.startswith(".")
    )


def needed(depot: Path, release: str) -> list[str]:
    """What a host reads to install one release.

    Raises ``NotThere`` naming what is missing, ``InvalidManifest`` for what is no digest.
    """
    checked_digest("release", release)
    found = [f"releases/{release}.json", f"releases/{release}.json.minisig"]
    document = _read(depot, found[0], Release.from_json)
    for layer in LAYERS:
        found += _of_layer(depot, layer, getattr(document, layer))
    if missing := [path for path in found if not (depot / path).is_file()]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise NotThere(f"{depot}: release {release} lacks {', '.join(missing[:3])}{more}")
    return found


def _of_layer(depot: Path, layer: str, digest: str) -> Iterator[str]:
    yield from (f"layers/{digest}.json", f"layers/{digest}.json.minisig")
    yield f"manifests/{digest}.json"
    document = _read(depot, f"layers/{digest}.json", LayerDocument.from_json)
    yield from (f"archives/{archive.name}" for archive in document.archives)
    if layer == "model":
        manifest = _read(depot, f"manifests/{digest}.json", Manifest.from_json)
        files = sorted({f"files/{record.sha256}" for record in manifest.files})
        # Where an archive holds it all, the single files are a convenience.
        yield from (one for one in files if not document.archives or (depot / one).is_file())
    for report in sorted((depot / "reports" / digest).glob("*")):
        yield report.relative_to(depot).as_posix()


def _read(depot: Path, path: str, made: Callable[[Any], _Document]) -> _Document:
    try:
        content = (depot / path).read_bytes()
    except FileNotFoundError as fault:
        raise NotThere(f"depot {depot}: holds no {path}: name the one that has it") from fault
    return made(parsed(str(depot / path), content))


def _stages(paths: Sequence[str]) -> Iterator[list[str]]:
    for stage in STAGES:
        those = [path for path in paths if any(fnmatchcase(path, pattern) for pattern in stage)]
        if those:
            yield those
