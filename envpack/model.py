"""The nouns of an environment on its way: a file, a layer's manifest, a release.

Python 3.9 and the standard library only: the node's one file will carry them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from envpack.errors import InvalidManifest

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_MODE = 0o777  # no set-uid, no set-gid, no sticky bit travels


def checked_digest(what: str, value: str) -> str:
    """A sha256 in hexadecimal.  Raises ``InvalidManifest``."""
    if not _DIGEST.fullmatch(value):
        raise InvalidManifest(f"{what}: a sha256 in hexadecimal, got {value[:80]!r}")
    return value


@dataclass(frozen=True)
class FileRecord:
    """One regular file of a layer: its relative path, content, size and mode."""

    path: str
    sha256: str
    size: int  #: bytes
    mode: int

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        if not self.path or self.path.startswith("/") or ".." in parts or "" in parts:
            raise InvalidManifest(f"path: relative and inside the layer, got {self.path!r}")
        checked_digest(self.path, self.sha256)
        if self.size < 0:
            raise InvalidManifest(f"{self.path}: size {self.size}")
        if not 0 <= self.mode <= _MAX_MODE:
            raise InvalidManifest(f"{self.path}: mode {self.mode:o}")


@dataclass(frozen=True)
class Manifest:
    """What a layer (environment, application or model) holds.  Its digest is its name."""

    layer: str
    files: tuple[FileRecord, ...]

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise InvalidManifest(f"layer: one of {', '.join(LAYERS)}, got {self.layer!r}")
        paths = [record.path for record in self.files]
        if paths != sorted(set(paths)):
            raise InvalidManifest("files: sorted by path, each path once")

    @property
    def digest(self) -> str:
        """sha256 of the manifest in one spelling."""
        return _digest(
            {
                "layer": self.layer,
                "files": [[one.path, one.sha256, one.size, one.mode] for one in self.files],
            }
        )


#: The three that travel apart: gigabytes rarely, kilobytes with each commit, weights by choice.
LAYERS = ("env", "app", "model")


@dataclass(frozen=True)
class Release:
    """The three layers that run together, by digest, and a counter that only rises."""

    counter: int
    env: str
    app: str
    model: str
    git_commit: str

    def __post_init__(self) -> None:
        if self.counter < 1:
            raise InvalidManifest(f"counter: from 1, got {self.counter}")
        for layer in LAYERS:
            checked_digest(layer, getattr(self, layer))

    @property
    def digest(self) -> str:
        """The release's name everywhere."""
        layers = {layer: getattr(self, layer) for layer in LAYERS}
        return _digest({"counter": self.counter, "git_commit": self.git_commit, **layers})


def _digest(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()
