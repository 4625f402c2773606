"""What an application asks of the environment that it is released with."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterable, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Final

from envpack.node.errors import InvalidManifest
from envpack.pack.inventory import canonical

#: Of this project's optional requirements, those that an environment of workers has.
EXTRA: Final = "worker"


def required(wheel: Path) -> list[str]:
    """The ``Requires-Dist`` lines of a wheel, as they stand there."""
    with zipfile.ZipFile(wheel) as archive:
        texts = [
            archive.read(name).decode("utf-8", errors="replace")
            for name in archive.namelist()
            if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
        ]
    lines = (HeaderParser().parsestr(text).get_all("Requires-Dist", []) for text in texts)
    return sorted({str(line) for found in lines for line in found})


def unmet(
    requires: Iterable[str], environment: Mapping[str, Any], without: Collection[str] = ()
) -> list[str]:
    """Each requirement that these facts of an environment do not meet, and what is there instead.

    ``without``: names that the application does without.  Raises ``InvalidManifest`` for a line
    that is no requirement.
    """
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - to release

    installed = dict(_installed(environment.get("packages", ())))
    spared = {canonical(name) for name in without}
    found = []
    for line in requires:
        try:
            one = Requirement(line)
        except InvalidRequirement as fault:
            raise InvalidManifest(f"application: requires {line!r:.120}: {fault}") from fault
        name = canonical(one.name)
        if name in spared or not (one.marker is None or _applies(one.marker, environment)):
            continue
        if name not in installed:
            found.append(f"{one.name}{one.specifier} is not in it")
        elif not one.specifier.contains(installed[name], prereleases=True):
            found.append(f"{one.name}{one.specifier} is {installed[name]}")
    return found


def _installed(packages: Iterable[Mapping[str, str]]) -> Iterable[tuple[str, str]]:
    """As pip knows them, whoever brought them: canonical name and version."""
    for one in packages:
        if one["kind"] == "pypi":
            yield canonical(one["name"]), one["version"]
        elif one.get("python"):
            name, _, version = one["python"].partition(" ")
            yield name, version


def _applies(marker: Any, environment: Mapping[str, Any]) -> bool:  # noqa: ANN401 - packaging's
    version = str(environment.get("python") or "")
    python = {
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "sys_platform": "linux",
    }
    return any(marker.evaluate({**(python if version else {}), "extra": e}) for e in ("", EXTRA))
