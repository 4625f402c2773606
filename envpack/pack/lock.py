"""Exactly what a build installs: each conda package and each wheel, by its sha256."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from envpack.node.errors import InvalidManifest, NotThere
from envpack.node.model import checked_digest, parsed
from envpack.pack.spec import Spec

_ENDINGS: Final = (".conda", ".tar.bz2")
_WHEEL: Final = re.compile(r"[A-Za-z0-9._+!-]+\.whl")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class CondaPackage:
    """``url`` is where it was found: ``<channel>/<subdir>/<name>-<version>-<build>.conda``."""

    url: str
    sha256: str

    def __post_init__(self) -> None:
        checked_digest(self.url, self.sha256)
        place = urlsplit(self.url)
        spelled = self.file.removesuffix(self._ending).count("-") >= 2
        if place.scheme not in {"https", "http", "file"} or not self._ending or not spelled:
            raise InvalidManifest(f"conda: not the URL of a package: {self.url[:200]!r}")
        if place.username or place.password or place.query:
            raise InvalidManifest(f"conda: a URL with a secret in it, of {self.file}")

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def _ending(self) -> str:
        return next((one for one in _ENDINGS if self.url.endswith(one)), "")

    @property
    def channel(self) -> str:
        return self.url.rsplit("/", 2)[0]

    @property
    def subdir(self) -> str:
        return self.url.rsplit("/", 2)[1]

    @property
    def identity(self) -> tuple[str, str, str]:
        """(name, version, build)."""
        name, version, build = self.file.removesuffix(self._ending).rsplit("-", 2)
        return name, version, build


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Wheel:
    """From whichever index or folder: its sha256 says which file is meant."""

    name: str
    version: str
    file: str
    sha256: str

    def __post_init__(self) -> None:
        checked_digest(self.name, self.sha256)
        if not _WHEEL.fullmatch(self.file):
            raise InvalidManifest(f"wheels: {self.name}: not a wheel: {self.file[:120]!r}")

    @property
    def requirement(self) -> str:
        """A line of a requirements file."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """``spec`` is the digest of the spec that it was solved from."""

    spec: str
    platform: str
    conda: tuple[CondaPackage, ...]
    wheels: tuple[Wheel, ...]

    def __post_init__(self) -> None:
        checked_digest("spec", self.spec)
        for what, names in (
            ("conda", [one.identity[0] for one in self.conda]),
            ("wheels", [one.name for one in self.wheels]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise InvalidManifest(f"lock: {what}: more than once: {', '.join(twice)}")
        if not self.conda:
            raise InvalidManifest("lock: conda: no package")

    def as_json(self) -> dict[str, Any]:
        """In one order, so that a refresh shows only what changed."""
        return {
            "schema": 1,
            "spec": self.spec,
            "platform": self.platform,
            "conda": [asdict(one) for one in sorted(self.conda, key=lambda one: one.identity)],
            "wheels": [asdict(one) for one in sorted(self.wheels)],
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:  # noqa: ANN401 - any JSON
        """Raises ``InvalidManifest``."""
        try:
            return cls(
                spec=value["spec"],
                platform=value["platform"],
                conda=tuple(CondaPackage(**one) for one in value["conda"]),
                wheels=tuple(Wheel(**one) for one in value["wheels"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise InvalidManifest(f"lock: cannot be read ({fault!r:.120})") from fault


def beside(spec: Path, variant: str) -> Path:
    """Where the lock of a spec's variant lies."""
    return spec.with_suffix(f".{variant}.lock.json")


def write(path: Path, lock: Lock) -> None:
    """One package a line or so: a change is to be read in review."""
    path.write_text(json.dumps(lock.as_json(), indent=1) + "\n", "utf-8")


def read(path: Path, spec: Spec) -> Lock:
    """Raises ``NotThere``; ``InvalidManifest`` also for a lock of another spec."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as fault:
        raise NotThere(f"{path}: no such lock; 'packshot-env build --lock' makes it") from fault
    lock = Lock.from_json(parsed(str(path), content))
    if lock.spec != spec.digest:
        raise InvalidManifest(
            f"{path}: of another spec: it was changed since; 'packshot-env build --lock' solves it"
        )
    return lock
