"""Whether this host can hold and run a layer: asked before its first byte is written."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from envpack.node import prefix
from envpack.node.drivers import numbers
from envpack.node.errors import Unsuitable
from envpack.node.model import Manifest

_BLOCK = 4096  # bytes; what a file takes is a multiple of it
_MAX_PATH = 4095  # bytes; Linux
_MAX_NAME = 255
#: What stays free for everybody else: a full disk stops more than this.
_SPARE = 64 << 20
_MACHINES = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "ppc64le": "linux-ppc64le"}


class Need(NamedTuple):
    """Room that something takes below a folder, which need not exist yet."""

    folder: Path
    size: int  #: bytes
    files: int


def check(manifest: Manifest, tree: Path) -> None:
    """All but room.  Raises ``Unsuitable`` naming what this host lacks."""
    prefix.check(manifest, tree)
    _check_paths(manifest, tree)
    check_platform(manifest.facts.get("platform", ""))
    check_glibc(manifest.facts.get("glibc", ""))


def needed(manifest: Manifest, tree: Path) -> Need:
    """Of a layer's tree, which is written beside its place."""
    size = sum(-(-record.size // _BLOCK) * _BLOCK for record in manifest.files)
    return Need(tree.parent, size, len(manifest.files))


def check_room(needs: Iterable[Need]) -> None:
    """Whether all of them may be written, and together fit on their disks.

    Raises ``Unsuitable`` naming what is needed and what there is, in bytes and files.
    """
    disks: dict[int, list[Need]] = {}
    for need in (one for one in needs if one.files):
        existing = next(one for one in (need.folder, *need.folder.parents) if one.is_dir())
        disks.setdefault(existing.stat().st_dev, []).append(need._replace(folder=existing))
        if not os.access(existing, os.W_OK, effective_ids=True):
            raise Unsuitable(
                f"{existing}: cannot be written by this user: choose another folder, or let it"
            )
    for together in disks.values():
        size, files = (sum(numbers) for numbers in zip(*[need[1:] for need in together]))
        _check_disk(together[0].folder, size, files)


def _check_disk(existing: Path, needed: int, files: int) -> None:
    status = os.statvfs(existing)
    free = status.f_bavail * status.f_frsize
    if free < needed + _SPARE:
        raise Unsuitable(
            f"{existing}: {(needed + _SPARE) / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free: "
            "remove old releases (packshot-env prune) or choose another disk"
        )
    if status.f_files and status.f_favail < files:  # some file systems count none
        raise Unsuitable(f"{existing}: {files:,} files needed, {status.f_favail:,} inodes free")


def here() -> str:
    """This host's platform, as conda spells it."""
    return _MACHINES.get(platform.machine(), platform.machine())


def glibc() -> str:
    """This host's, or empty where it has none."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").rpartition(" ")[2]
    except (OSError, ValueError):
        return ""


def _check_paths(manifest: Manifest, tree: Path) -> None:
    room = _MAX_PATH - len(str(tree).encode()) - 1
    paths = [record.path for record in manifest.files] + [link.path for link in manifest.links]
    for path in paths:
        raw = path.encode()
        if len(raw) > room or max(map(len, raw.split(b"/"))) > _MAX_NAME:
            raise Unsuitable(f"{path[:80]}…: too long a path below {tree}")


def check_platform(wanted: str) -> None:
    if wanted and (not sys.platform.startswith("linux") or wanted != here()):
        raise Unsuitable(f"made for {wanted}; this host is {sys.platform} on {here()}")


def check_glibc(wanted: str) -> None:
    found = glibc()
    if wanted and (not found or numbers(found) < numbers(wanted)):
        raise Unsuitable(
            f"needs glibc {wanted} or newer; this host has {found or 'none'}: "
            "use a newer distribution or build the environment for this one"
        )
