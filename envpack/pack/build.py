"""Builds the environment that a lock describes, and refreshes the lock.

The builder links the conda packages, pip puts the wheels on top; both compare sha256, and what
then stands in the prefix is compared with the lock once more.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from envpack.node.errors import NotThere, NotTrusted, Unreachable, Unsuitable
from envpack.pack.builders import Builder
from envpack.pack.inventory import (
    RECORD,
    canonical,
    conda_records,
    distributions,
    metadata,
    unfinished,
)
from envpack.pack.lock import CondaPackage, Lock, Wheel
from envpack.pack.process import ToolFailed, run
from envpack.pack.spec import Spec

MAX_PREFIX: Final = 255  # characters of the placeholder that packages hold
_SPACE: Final = re.compile(r"\s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where wheels come from: pip's own settings say PyPI or a mirror, or a folder alone."""

    wheelhouse: Path | None = None  #: nothing else is asked
    indexes: tuple[str, ...] = field(default=())  #: beside the first one

    def options(self) -> list[str | Path]:
        if self.wheelhouse is not None:
            return ["--no-index", "--find-links", self.wheelhouse]
        return [word for one in self.indexes for word in ("--extra-index-url", one)]


def refresh(spec: Spec, builder: Builder, sources: Sources) -> Lock:
    """Solve the spec anew.  Takes a prefix of its own, so that the wheels are chosen by the
    very interpreter that will run them.  Raises ``ToolFailed``, ``NotTrusted``.
    """
    with TemporaryDirectory(prefix="envpack-lock-") as scratch:
        cache = Path(scratch) / "cache"
        conda = builder.solve(spec, cache)
        bare = Lock(spec=spec.digest, platform=spec.platform, conda=conda, wheels=())
        prefix = Path(scratch) / "prefix"
        _check_local(conda)
        builder.link(bare, prefix, cache)
        wheels = _resolved(prefix, spec, sources)
    return Lock(spec=spec.digest, platform=spec.platform, conda=conda, wheels=wheels)


def build(lock: Lock, spec: Spec, prefix: Path, builder: Builder, sources: Sources) -> Path:
    """The prefix, at its real path.  The packages stay in ``<prefix>.cache`` until it is packed.

    Raises ``Unsuitable`` for a prefix that cannot be, ``NotTrusted`` for what is not as locked,
    ``ToolFailed``; then nothing is left of the prefix.
    """
    _check_name(prefix)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    cache = prefix.with_name(f"{prefix.name}.cache")
    with _marked(prefix):
        _check_local(lock.conda)
        builder.link(lock, prefix, cache)
        _install(prefix, lock.wheels, sources)
        compare(prefix, lock)
        _record(prefix, spec, lock, builder)
    return prefix.resolve()


@contextmanager
def _marked(prefix: Path) -> Iterator[None]:
    """As half built, for as long as it is: what a run has left that was killed, or could not remove
    it, goes, and is not packed.

    Raises ``Unsuitable`` for a prefix that is there, ``Unreachable`` while another run builds it.
    """
    mark, busy = unfinished(prefix), f"{prefix}: another run builds it: run it again then"
    with mark.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unreachable(busy) from None
        status = os.fstat(file.fileno())
        if not status.st_nlink:  # it has just ended
            raise Unreachable(busy)
        is_half = status.st_size > 0
        try:
            if is_half:
                _remove(prefix)
            _check_free(prefix)
            file.write(b"half built\n")
            file.flush()
            is_half = True
            yield
            is_half = False
        finally:
            if is_half:
                _remove(prefix)
            if not (is_half and os.path.lexists(prefix)):
                mark.unlink()


def _check_local(packages: Sequence[CondaPackage]) -> None:
    """py-rattler 0.28 compares what it downloads, but not what it finds under ``file://``."""
    for one in packages:
        place = urlsplit(one.url)
        if place.scheme == "file":
            _check_file(one, Path(unquote(place.path)))


def _check_file(package: CondaPackage, path: Path) -> None:
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as fault:
        raise NotThere(f"{path}: no such package; the lock names it") from fault
    if digest != package.sha256:
        raise NotTrusted(f"{path}: sha256 {digest}, the lock says {package.sha256}")


def compare(prefix: Path, lock: Lock) -> None:
    """Raises ``NotTrusted`` naming what is missing, too much or of other content."""
    found = {(one["name"], one["version"], one["build"]): one for one in conda_records(prefix)}
    locked = {one.identity: one for one in lock.conda}
    _same(f"{prefix}: conda", set(found), set(locked))
    for identity, package in locked.items():
        digest = found[identity].get("sha256") or package.sha256  # older programs note none
        if digest != package.sha256:
            raise NotTrusted(f"{package.file}: sha256 {digest}, the lock says {package.sha256}")
    wheels = {(canonical(one.name), one.version) for one in lock.wheels}
    _same(f"{prefix}: wheels", wheels & installed(prefix), wheels)


def _same(what: str, found: set[Any], locked: set[Any]) -> None:
    for word, those in (("missing", locked - found), ("not in the lock", found - locked)):
        if those:
            names = ", ".join(sorted("-".join(one) for one in those)[:5])
            raise NotTrusted(f"{what}: {word}: {names}")


def installed(prefix: Path) -> set[tuple[str, str]]:
    """(canonical name, version) of each distribution."""
    heads = map(metadata, distributions(prefix))
    return {(canonical(one["Name"]), one["Version"]) for one in heads}


# ---- pip


def _pip(prefix: Path, *words: str | Path) -> list[str | Path]:
    # The prefix is to hold what the lock says, not what the builder's home has beside it.
    python = prefix / "bin" / "python"
    own = ["env", "PYTHONNOUSERSITE=1", sys.executable, "-m", "pip"]
    return [*own, "--python", python, "--disable-pip-version-check", "--no-input", *words]


def _resolved(prefix: Path, spec: Spec, sources: Sources) -> tuple[Wheel, ...]:
    report = prefix.with_name("wheels.json")
    options: list[str | Path] = ["--quiet", "--dry-run", "--ignore-installed", "--report", report]
    options += ["--only-binary", ":all:", *sources.options(), *spec.wheels]
    run(_pip(prefix, "install", *options))
    return tuple(_wheel(one) for one in json.loads(report.read_text("utf-8"))["install"])


def _wheel(item: dict[str, Any]) -> Wheel:
    """Of pip's installation report: https://pip.pypa.io/en/stable/reference/installation-report/"""
    info = item["download_info"]
    return Wheel(
        name=canonical(item["metadata"]["name"]),
        version=item["metadata"]["version"],
        file=info["url"].partition("#")[0].rpartition("/")[2].replace("%2B", "+"),
        sha256=info["archive_info"]["hashes"]["sha256"],
    )


def _install(prefix: Path, wheels: Sequence[Wheel], sources: Sources) -> None:
    if not wheels:
        return
    with TemporaryDirectory(prefix="envpack-wheels-") as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text("\n".join(one.requirement for one in wheels) + "\n", "utf-8")
        # Byte code is made when packing, in a form that does not hold times.
        options: list[str | Path] = ["--quiet", "--require-hashes", "--no-deps", "--no-compile"]
        options += ["--only-binary", ":all:", "--ignore-installed", "-r", wanted]
        try:
            run(_pip(prefix, "install", *options, *sources.options()))
        except ToolFailed as fault:
            if "DO NOT MATCH THE HASHES" in str(fault):
                raise NotTrusted(f"a wheel is not the locked one: {fault}") from fault
            raise
    run(_pip(prefix, "check"))


# ---- the prefix


def _check_name(prefix: Path) -> None:
    text = str(prefix)
    if not prefix.is_absolute() or _SPACE.search(text) or len(text) > MAX_PREFIX:
        raise Unsuitable(
            f"prefix: absolute, without spaces, at most {MAX_PREFIX} characters, got {text!r:.300}"
        )


def _check_free(prefix: Path) -> None:
    if prefix.exists() or prefix.is_symlink():
        raise Unsuitable(f"{prefix}: exists already; name a new folder, or remove this one")


def _record(prefix: Path, spec: Spec, lock: Lock, builder: Builder) -> None:
    for one in (prefix / "conda-meta").glob("*.json"):
        one.chmod(0o644)  # py-rattler writes 0600
    record = prefix / RECORD
    record.parent.mkdir(parents=True, exist_ok=True)
    value = {"spec": asdict(spec), "lock": lock.as_json(), "builder": builder.name}
    record.write_text(json.dumps(value, indent=1) + "\n", "utf-8")


def _remove(prefix: Path) -> None:
    if prefix.is_symlink():
        prefix.unlink()
    shutil.rmtree(prefix, ignore_errors=True)
