"""The nouns of an environment on its way: files, a layer's manifest, its archives, a release.

Every document has one spelling (``spelt``); a manifest's and a release's sha256 is its name.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from envpack.node.errors import InvalidManifest

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_MODE = 0o777  # no set-uid, no set-gid, no sticky bit travels

#: Of every document here; another one needs another packshot-env.
SCHEMA = 1
#: The three that travel apart: gigabytes rarely, kilobytes with each commit, weights by choice.
LAYERS = ("env", "app", "model")
#: How a file names the folder it was built in: as text, or as a C string padded with NULs.
PREFIX_MODES = ("text", "binary")
#: What an archive of tar members is compressed with.
FORMATS = ("tar.zst", "tar.gz")


def spelt(value: Any) -> bytes:  # noqa: ANN401 - any JSON
    """The one spelling of a document; what is signed, digested and written is this."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def parsed(what: str, content: bytes) -> Any:  # noqa: ANN401 - any JSON
    """A document that anybody may have written.  Raises ``InvalidManifest`` naming it."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as fault:
        raise InvalidManifest(f"{what}: not JSON ({fault})") from fault


def is_digest(text: str) -> bool:
    """Whether it is spelt like a sha256."""
    return _DIGEST.fullmatch(text) is not None


def checked_digest(what: str, value: Any) -> str:  # noqa: ANN401 - any JSON
    """A sha256 in hexadecimal.  Raises ``InvalidManifest``."""
    if not isinstance(value, str) or not is_digest(value):
        raise InvalidManifest(
            f"{what}: a whole digest is meant, 64 hexadecimal digits, got {str(value)[:80]!r}"
        )
    return value


def _check_schema(what: str, value: Any) -> None:  # noqa: ANN401 - any JSON
    found = value.get("schema") if isinstance(value, dict) else None
    if found != SCHEMA:
        raise InvalidManifest(
            f"{what}: cannot be read: schema {SCHEMA} is meant, got {str(found)[:80]!r}"
        )


def checked_path(what: str, path: str) -> str:
    """Relative, normalised and inside its layer.  Raises ``InvalidManifest``."""
    parts = path.split("/")
    inside = bool(path) and not {"", ".", ".."} & set(parts)
    if not inside or "\\" in path or not path.isprintable():
        raise InvalidManifest(
            f"{what}: relative, inside the layer and printable is meant, got {path[:200]!r}"
        )
    return path


@dataclass(frozen=True)
class Prefix:
    """The placeholder of the environment's folder that a file holds."""

    placeholder: str
    mode: str  #: one of ``PREFIX_MODES``

    def __post_init__(self) -> None:
        if self.mode not in PREFIX_MODES:
            raise InvalidManifest(f"prefix: one of {', '.join(PREFIX_MODES)}, got {self.mode!r}")
        if not self.placeholder.startswith("/"):
            raise InvalidManifest(f"placeholder: an absolute path, got {self.placeholder[:80]!r}")


@dataclass(frozen=True)
class FileRecord:
    """One regular file as it is packed: ``sha256`` is taken before its prefix is fixed."""

    path: str
    sha256: str
    size: int  #: bytes
    mode: int
    prefix: Prefix | None = None

    def __post_init__(self) -> None:
        checked_path("path", self.path)
        checked_digest(self.path, self.sha256)
        if self.size < 0:
            raise InvalidManifest(f"{self.path}: size {self.size}")
        if not 0 <= self.mode <= _MAX_MODE:
            raise InvalidManifest(f"{self.path}: mode {self.mode:o}")


@dataclass(frozen=True)
class LinkRecord:
    """A symbolic link; ``target`` is relative, normalised and stays inside the layer.

    ``..`` only leads: behind a name that is itself a link, it would lead elsewhere than it says.
    """

    path: str
    target: str

    def __post_init__(self) -> None:
        checked_path("link", self.path)
        parts = self.target.split("/")
        up = next((depth for depth, part in enumerate(parts) if part != ".."), len(parts))
        odd = {"", ".", ".."} & set(parts[up:]) or not self.target.isprintable()
        if up > self.path.count("/") or odd:
            raise InvalidManifest(
                f"{self.path}: links out of the layer, or oddly, to {self.target!r}"
            )


@dataclass(frozen=True)
class Manifest:
    """What a layer holds.  ``facts``: of an environment, what a host is checked against:
    ``platform`` (``linux-64``), ``python``, ``glibc`` (the oldest that serves), ``cuda`` (the
    toolkit of torch's build; empty: runs on the CPU), ``minimum_driver``,
    ``recommended_driver``, ``architectures`` (of torch's build: ``sm_90``), ``packages`` and
    ``imports`` (modules that must load).
    """

    layer: str
    files: tuple[FileRecord, ...]
    links: tuple[LinkRecord, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise InvalidManifest(f"layer: one of {', '.join(LAYERS)}, got {self.layer!r}")
        files = [record.path for record in self.files]
        links = [record.path for record in self.links]
        for what, paths in (("files", files), ("links", links)):
            if paths != sorted(set(paths)):
                raise InvalidManifest(f"{what}: sorted by path, each path once")
        _check_names([*files, *links])

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(record.size for record in self.files)

    @property
    def digest(self) -> str:
        """sha256 of ``spelt(self.as_json())``: the layer's name everywhere."""
        return sha256(spelt(self.as_json())).hexdigest()

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "layer": self.layer,
            "files": [_row(record) for record in self.files],
            "links": [[record.path, record.target] for record in self.links],
            "facts": self.facts,
        }

    @classmethod
    def from_json(cls, value: Any) -> Manifest:  # noqa: ANN401 - any JSON
        """Raises ``InvalidManifest``."""
        _check_schema("manifest", value)
        try:
            return cls(
                layer=value["layer"],
                files=tuple(_record(row) for row in value["files"]),
                links=tuple(LinkRecord(path, target) for path, target in value["links"]),
                facts=dict(value["facts"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise InvalidManifest(f"manifest: cannot be read ({fault!r:.120})") from fault


def _check_names(paths: list[str]) -> None:
    if len(set(paths)) < len(paths):
        raise InvalidManifest("files, links: a path is both")
    folders = {
        path.rsplit("/", depth)[0] for path in paths for depth in range(1, path.count("/") + 1)
    }
    for path in paths:
        if path in folders:
            raise InvalidManifest(f"{path}: a file and a folder")


def _row(record: FileRecord) -> list[Any]:
    row: list[Any] = [record.path, record.sha256, record.size, record.mode]
    return row if record.prefix is None else [*row, record.prefix.mode, record.prefix.placeholder]


def _record(row: list[Any]) -> FileRecord:
    path, digest, size, mode, *prefix = row
    if not prefix:
        return FileRecord(path, digest, size, mode)
    kind, placeholder = prefix
    return FileRecord(path, digest, size, mode, Prefix(placeholder, kind))


@dataclass(frozen=True)
class Archive:
    """One compressed tar of a layer; with ``base``, only what that layer does not hold."""

    sha256: str
    size: int  #: bytes
    format: str  #: one of ``FORMATS``
    base: str | None = None  #: digest of the layer that the rest is taken from
    #: Bytes of each run of whole members that decompresses by itself; empty: all is one.
    sections: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        checked_digest("archive", self.sha256)
        if self.base is not None:
            checked_digest("base", self.base)
        if self.format not in FORMATS:
            raise InvalidManifest(f"format: one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.size < 1:
            raise InvalidManifest(f"archive {self.sha256}: size {self.size}")
        if self.sections and (min(self.sections) < 1 or sum(self.sections) != self.size):
            raise InvalidManifest(
                f"archive {self.sha256}: sections of {sum(self.sections)} bytes in {self.size}"
            )

    @property
    def name(self) -> str:
        """In the depot's ``archives/``."""
        return f"{self.sha256}.{self.format}"


def _archive(fields: dict[str, Any]) -> Archive:
    return Archive(**{**fields, "sections": tuple(fields.get("sections", ()))})


@dataclass(frozen=True)
class LayerDocument:
    """Signed: the archives that a layer may be unpacked from.  Grows when a delta is made."""

    layer: str
    digest: str
    archives: tuple[Archive, ...]

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise InvalidManifest(f"layer: one of {', '.join(LAYERS)}, got {self.layer!r}")
        checked_digest("layer", self.digest)

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            **asdict(self),
            "archives": [asdict(one) for one in self.archives],
        }

    @classmethod
    def from_json(cls, value: Any) -> LayerDocument:  # noqa: ANN401 - any JSON
        """Raises ``InvalidManifest``."""
        _check_schema("layer document", value)
        try:
            return cls(
                layer=value["layer"],
                digest=value["digest"],
                archives=tuple(_archive(one) for one in value["archives"]),
            )
        except (KeyError, TypeError, ValueError) as fault:
            raise InvalidManifest(f"layer document: cannot be read ({fault!r:.120})") from fault


@dataclass(frozen=True)
class Release:
    """Signed: the three layers that run together, and a counter that only rises."""

    counter: int
    name: str  #: for people, by date: ``2026.11.22-7``
    env: str
    app: str
    model: str
    git_commit: str
    minimum_driver: str = ""  #: ``525.60.13``; empty: runs without a GPU

    def __post_init__(self) -> None:
        if self.counter < 1:
            raise InvalidManifest(f"counter: from 1, got {self.counter}")
        for layer in LAYERS:
            checked_digest(layer, getattr(self, layer))

    @property
    def digest(self) -> str:
        """The release's name everywhere."""
        return sha256(spelt(self.as_json())).hexdigest()

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, value: Any) -> Release:  # noqa: ANN401 - any JSON
        """Raises ``InvalidManifest``."""
        _check_schema("release", value)
        try:
            fields = dict(value)
            fields.pop("schema")
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as fault:
            raise InvalidManifest(f"release: cannot be read ({fault!r:.120})") from fault
