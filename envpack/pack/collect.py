"""Lists what a conda prefix holds, by conda-pack, and refuses what could not be packed truthfully.

conda-pack names each file, where its pristine content is (the package cache) and which placeholder
it holds.  Of a file that a package owns it looks only whether it is there: that it still *is* the
package's file is compared here, because the pristine one is what travels.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from envpack.node.model import LinkRecord, Prefix
from envpack.pack.errors import NotPackable, named
from envpack.pack.inventory import conda_record, unfinished
from envpack.pack.sources import Source

#: A shorter prefix would be found in text that means something else.
SHORTEST_PREFIX: Final = len("/opt/env")


@dataclass(frozen=True)
class Collected:
    """A prefix and what it holds, before anything is left out."""

    prefix: Path
    files: tuple[Source, ...]
    links: tuple[LinkRecord, ...]
    packages: tuple[dict[str, Any], ...]  #: the documents of ``conda-meta``

    @cached_property
    def python(self) -> str:
        """Its version, as ``3.11.7``.  Raises ``NotPackable``."""
        for package in self.packages:
            if package["name"] == "python":
                return str(package["version"])
        raise NotPackable(f"{self.prefix}: holds no python package of conda's")

    @property
    def interpreter(self) -> Path:
        major, minor, *_ = self.python.split(".")
        return self.prefix / "bin" / f"python{major}.{minor}"

    @property
    def site_packages(self) -> str:
        """Relative to the prefix."""
        return f"lib/{self.interpreter.name}/site-packages"


def collect(prefix: Path) -> Collected:
    """Everything in a prefix whose packages are whole and whose package cache is still there.

    Raises ``NotPackable``: files missing or changed since they were linked, editable installs,
    package cache gone, links that leave the prefix.
    """
    prefix = prefix.resolve()
    _check_prefix(prefix)
    packages = tuple(_packages(prefix))
    listed = _listed(prefix)
    _check_unchanged(prefix, packages)
    promised = dict(_promised(packages))
    files, links, odd = [], [], []
    for one in listed:
        source = Path(one.source)
        if source.is_symlink():
            links.append(_link(prefix, one.target, prefix / one.target))
        elif source.is_file():
            files.append(_source(one, promised.get(str(source))))
        elif not source.is_dir():
            odd.append(one.target)
    if odd:
        raise NotPackable(f"neither a file nor a link: {named(odd)}; remove them from {prefix}")
    files.sort(key=lambda source: source.path)
    links.sort(key=lambda link: link.path)
    return Collected(prefix, tuple(files), tuple(links), packages)


def _check_prefix(prefix: Path) -> None:
    if len(str(prefix)) < SHORTEST_PREFIX:
        raise NotPackable(
            f"{prefix}: too short to be told from other text; build the environment in a folder"
            f" of at least {SHORTEST_PREFIX} characters"
        )
    if unfinished(prefix).exists():
        raise NotPackable(f"{prefix}: half built, or being built: end it with packshot-env build")


def _listed(prefix: Path) -> Iterable[Any]:
    """conda-pack's own list.  A missing package cache is an error, not its warning."""
    from conda_pack import CondaEnv, CondaPackException  # noqa: PLC0415 - only to pack

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return list(CondaEnv.from_prefix(str(prefix), on_missing_cache="raise"))
    except CondaPackException as fault:
        lines = (line.strip() for line in str(fault).splitlines())
        raise NotPackable(f"{prefix}: {' '.join(line for line in lines if line)}") from fault
    except (KeyError, TypeError, ValueError) as fault:
        raise NotPackable(
            f"{prefix}/conda-meta: tells less of its packages than conda does ({fault!r:.120}):"
            " build the environment again"
        ) from fault


def _packages(prefix: Path) -> Iterator[dict[str, Any]]:
    for document in sorted((prefix / "conda-meta").glob("*.json")):
        yield conda_record(document)


def _promised(packages: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """File in the package cache → the sha256 that its package was published with."""
    for package in packages:
        cached = Path(package["link"]["source"])
        paths = cached / "info" / "paths.json"
        if paths.exists():
            for entry in json.loads(paths.read_text("utf-8"))["paths"]:
                if "sha256" in entry:
                    yield str(cached / entry["_path"]), entry["sha256"]


def _check_unchanged(prefix: Path, packages: Iterable[dict[str, Any]]) -> None:
    """A file that was edited in place would silently travel unedited."""
    changed = [
        entry["_path"]
        for package in packages
        for entry in (package.get("paths_data") or {}).get("paths", [])
        if not _is_as_linked(prefix / entry["_path"], entry, Path(package["link"]["source"]))
    ]
    if changed:
        raise NotPackable(
            f"changed after conda linked them: {named(changed)}; their packages' own files would"
            " be packed. Make the change a package or a wheel, and build the environment again"
        )


def _is_as_linked(path: Path, entry: dict[str, Any], cached: Path) -> bool:
    if path.is_symlink() or entry.get("path_type") == "softlink":
        return path.is_symlink() and entry.get("path_type") == "softlink"
    expected: str | None = entry.get("sha256_in_prefix") or entry.get("sha256")
    if not expected or path.suffix == ".pyc" or not path.is_file():
        return True
    if _is_same_file(path, cached / entry["_path"]):
        return True  # the cache's content is compared when it is read
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest() == expected


def _is_same_file(path: Path, cached: Path) -> bool:
    try:
        return path.samefile(cached)
    except OSError:
        return False


def _source(listed: Any, promised: str | None) -> Source:  # noqa: ANN401 - conda-pack's File
    content = Path(listed.source)
    mode = listed.file_mode if listed.file_mode in {"text", "binary"} else None
    return Source(
        path=listed.target,
        content=content,
        executable=bool(content.stat().st_mode & 0o111),
        prefix=Prefix(listed.prefix_placeholder, mode) if mode else None,
        sha256=promised,
    )


def _link(prefix: Path, name: str, link: Path) -> LinkRecord:
    """Relative and normalised, whatever it was.  Raises ``NotPackable`` if it leaves the prefix."""
    target = link.readlink()
    absolute = Path(os.path.normpath(link.parent / target))
    if not absolute.is_relative_to(prefix):
        raise NotPackable(
            f"{name}: links out of the environment, to {target}; put the file itself there"
        )
    if absolute.resolve() != link.resolve():
        raise NotPackable(f"{name}: its target {target} leads back through a link; name it plainly")
    return LinkRecord(name, os.path.relpath(absolute, link.parent))
