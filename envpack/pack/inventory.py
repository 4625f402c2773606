"""What is installed in a prefix: conda's records and Python's distributions, as one list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from envpack.node.errors import InvalidManifest, NotThere
from envpack.node.model import parsed

#: In the prefix: spec, lock and builder, for whoever packs it or asks where it came from.
RECORD: Final = "etc/packshot/environment.json"
_NOTED: Final = ("spec", "lock")


def unfinished(prefix: Path) -> Path:
    """Stands beside a prefix for as long as ``build`` works on it, or was killed at it."""
    return prefix.with_name(f"{prefix.name}.unfinished")


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One thing that was installed, by conda or by pip."""

    kind: str  #: ``conda`` or ``pypi``
    name: str
    version: str
    purl: str  #: https://github.com/package-url/purl-spec
    license: str = ""  #: as the package says it
    expression: bool = False  #: ``license`` is an SPDX expression (PEP 639)
    sha256: str = ""  #: of the file it was installed from, where that is known
    url: str = ""  #: where that file came from, if others can go there too
    python: str = ""  #: the name and version under which pip knows a conda package


def packages(prefix: Path) -> tuple[Package, ...]:
    """conda-meta ∪ dist-info, sorted by purl; a Python package that conda brought is one of
    conda's, and says so.  Raises ``NotThere`` for a folder that is no environment.
    """
    records = conda_records(prefix)
    if not records:
        raise NotThere(f"{prefix}: no conda-meta with packages: not an environment")
    owner = {path: record["name"] for record in records for path in record.get("files", ())}
    wheels = {
        row["name"]: row["sha256"]
        for row in environment_of(prefix).get("lock", {}).get("wheels", ())
    }
    known_by_pip, found = {}, []
    for distribution in distributions(prefix):
        said = metadata(distribution)
        brought_by = owner.get((distribution / "METADATA").relative_to(prefix).as_posix())
        if brought_by is None:
            found.append(_distribution(said, wheels))
        else:
            known_by_pip[brought_by] = f"{canonical(said['Name'])} {said['Version']}"
    found += [_conda(record, known_by_pip.get(record["name"], "")) for record in records]
    return tuple(sorted(found, key=lambda one: one.purl))


def conda_records(prefix: Path) -> list[dict[str, Any]]:
    """What conda notes of each package, by name."""
    records = [conda_record(one) for one in (prefix / "conda-meta").glob("*.json")]
    return sorted(records, key=lambda one: str(one["name"]))


def conda_record(path: Path) -> dict[str, Any]:
    """One document of ``conda-meta``.  Raises ``InvalidManifest``."""
    record = parsed(str(path), path.read_bytes())
    if not isinstance(record, dict) or not {"name", "version"} <= record.keys():
        raise InvalidManifest(f"{path}: names no package: build the environment again")
    return record


def distributions(prefix: Path) -> list[Path]:
    """The ``*.dist-info`` folders of a prefix."""
    found = (prefix / "lib").glob("python3.*/site-packages/*.dist-info")
    return sorted(one for one in found if (one / "METADATA").is_file())


def metadata(distribution: Path) -> Message:
    """The headers of a distribution."""
    return HeaderParser().parsestr(
        (distribution / "METADATA").read_text("utf-8", errors="replace"), headersonly=True
    )


def environment_of(prefix: Path) -> dict[str, Any]:
    """What ``build`` noted: ``spec``, ``lock``, ``builder``; empty for one that others built."""
    try:
        content = (prefix / RECORD).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found = parsed(str(prefix / RECORD), content)
    if isinstance(found, dict) and all(isinstance(found.get(one, {}), dict) for one in _NOTED):
        return found
    raise InvalidManifest(f"{prefix / RECORD}: not what build writes")


def canonical(name: str) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/"""
    return re.sub(r"[-_.]+", "-", name).lower()


def conda_purl(name: str, version: str, **qualifiers: str) -> str:
    """Qualifiers that are empty are left out."""
    said = "&".join(
        f"{key}={quote(qualifiers[key])}" for key in sorted(qualifiers) if qualifiers[key]
    )
    return f"pkg:conda/{quote(name)}@{quote(version)}" + (f"?{said}" if said else "")


def pypi_purl(name: str, version: str) -> str:
    return f"pkg:pypi/{canonical(name)}@{quote(version)}"


def _conda(record: dict[str, Any], python: str) -> Package:
    url = str(record.get("url", ""))
    public = url if url.startswith("https://") and "@" not in url else ""
    ending = next((end for end in ("conda", "tar.bz2") if url.endswith(f".{end}")), "")
    return Package(
        kind="conda",
        name=record["name"],
        version=record["version"],
        purl=conda_purl(
            record["name"],
            record["version"],
            build=record.get("build", ""),
            channel=public.split("/")[-3] if public else "",
            subdir=record.get("subdir", ""),
            type=ending,
        ),
        license=record.get("license") or "",
        sha256=record.get("sha256") or "",
        url=public,
        python=python,
    )


def _distribution(said: Message, wheels: dict[str, str]) -> Package:
    name, version = str(said["Name"]), str(said["Version"])
    expression = said.get("License-Expression")
    return Package(
        kind="pypi",
        name=canonical(name),
        version=version,
        purl=pypi_purl(name, version),
        license=str(expression or next(_licences(said), "")),
        expression=expression is not None,
        sha256=wheels.get(canonical(name), ""),
    )


def _licences(said: Message) -> Iterator[str]:
    """As far as they are names: some packages put the whole text into the field."""
    spelled = str(said.get("License", "")).strip()
    if spelled and spelled != "UNKNOWN" and "\n" not in spelled and len(spelled) < 80:
        yield spelled
    for one in said.get_all("Classifier", []):
        if one.startswith("License :: "):
            yield one.rpartition(" :: ")[2]
