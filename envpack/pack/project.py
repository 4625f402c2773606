"""This project's own wheel, and what is in it.

The wheel is built from what is committed, in a folder of its own: what lies about in a working
tree does not travel.
"""

from __future__ import annotations

import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any, Final

from envpack.node.model import checked_path
from envpack.pack.errors import NotPackable
from envpack.pack.process import ToolFailed, run
from envpack.pack.requirements import required
from envpack.pack.sources import Source

_BUILD: Final = (
    "import importlib, sys; importlib.import_module(sys.argv[1]).build_wheel(sys.argv[2])"
)
#: Modules of this project that are loaded before a worker takes its first job, or a client asks.
IMPORTS: Final = (
    *("worker.cli", "worker.process", "worker.engine.diffusers.engine"),
    "producer.cli.commands",
)
_NAME: Final = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-.+)?-[^-]+-[^-]+-[^-]+\.whl")


def build_wheel(project: Path, scratch: Path, commit: str = "HEAD") -> Path:
    """Of one commit, by the build backend that it names (PEP 517) and that is installed here.

    Raises ``ToolFailed``, ``NotPackable``.
    """
    packed, tree, wheels = (scratch / name for name in ("commit.tar", "commit", "wheels"))
    _git(project, "archive", "--format=tar", f"--output={packed}", commit)
    with tarfile.open(packed) as tar:
        tar.extractall(tree, filter="data")
    wheels.mkdir()
    script = (sys.executable, "-W", "ignore", "-c", _BUILD, _backend(tree), wheels)
    run(script, cwd=tree)
    return next(wheels.glob("*.whl"))


def _backend(tree: Path) -> str:
    try:
        settings = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))
        return str(settings["build-system"]["build-backend"])
    except (OSError, ValueError, KeyError) as fault:
        raise NotPackable(
            f"{tree}/pyproject.toml: names no build backend ({fault}); build a wheel otherwise and"
            " give it with --wheel"
        ) from fault


def commit_of(project: Path) -> str:
    """The full name of what is checked out.  Raises ``ToolFailed``."""
    return _git(project, "rev-parse", "HEAD")


def _git(project: Path, *words: str) -> str:
    try:
        return run(["git", "-C", project, *words]).stdout.strip()
    except ToolFailed as fault:
        raise ToolFailed(
            f"{project.absolute()}: name a checkout, --project FOLDER: {fault}"
        ) from fault


def unpacked_wheel(wheel: Path, tree: Path) -> list[Source]:
    """Its files, in the layout of ``site-packages``.

    Raises ``NotPackable``, ``InvalidManifest`` for a name that leads out of it.
    """
    try:
        with zipfile.ZipFile(wheel) as zipped:
            members = [one for one in zipped.infolist() if not one.is_dir()]
            zipped.extractall(tree, members)  # noqa: S202 - zipfile keeps names inside
    except (OSError, zipfile.BadZipFile) as fault:
        raise NotPackable(f"{wheel}: cannot be read as a wheel ({fault})") from fault
    for one in members:
        checked_path(wheel.name, one.filename)
    odd = [one.filename for one in members if ".data/" in one.filename]
    if odd:
        raise NotPackable(f"{wheel}: {odd[0]}: belongs elsewhere than among the modules")
    return [
        Source(
            path=one.filename,
            content=tree / one.filename,
            executable=bool(one.external_attr >> 16 & 0o111),
        )
        for one in members
    ]


def application_facts(wheel: Path) -> dict[str, Any]:
    """Name and version, as the wheel's own name says; what it requires; the modules that must
    load for a worker and for a client to start.  Raises ``NotPackable``.
    """
    found = _NAME.fullmatch(wheel.name)
    if not found:
        raise NotPackable(f"{wheel.name}: not the name of a wheel")
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
    return {
        "name": found["name"],
        "version": found["version"],
        "requires": required(wheel),
        "imports": [one for one in IMPORTS if f"{one.replace('.', '/')}.py" in there],
    }
