"""A release's layers onto this host: from a signed name to a tree that is complete.

    documents, signatures, counter ─► does it fit here? ─► archive, sha256
      ─► tree in its final place ─► self-check, sync ─► marked complete ─► release folder

Killed at any point it leaves what was complete as it was; the next run removes what is not marked
and goes on with what was downloaded.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from envpack.node import compression, extract, fetch, releases, repair, selfcheck, suitable, trees
from envpack.node.errors import EnvpackError, NotTrusted, Unsuitable
from envpack.node.host import Completion, Host, sync_folder, write
from envpack.node.members import Archive as Members
from envpack.node.model import Archive, LayerDocument, Manifest, Release, spelt
from envpack.node.trust import Trusted, check_counter
from envpack.node.weights import pull


@dataclass(frozen=True)
class Plan:
    """One layer that is missing here: all that is known of it before anything is written."""

    kind: str
    digest: str
    manifest: Manifest
    archives: tuple[Archive, ...]  #: in the order in which they are tried


@dataclass(frozen=True)
class Unpacked:
    release: Release
    fresh: tuple[str, ...]  #: the layers that were not here before
    fetched: int  #: bytes
    seconds: float


@dataclass(frozen=True)
class Wishes:
    """What an operator may ask for beyond the usual."""

    allow_older: bool = False  #: a release from before, if it is still here
    again: bool = False  #: also layers that are here, but not as they were unpacked
    model_to: Path | None = None  #: another folder for the weights


USUAL = Wishes()


def unpack(host: Host, trusted: Trusted, digest: str, wishes: Wishes = USUAL) -> Unpacked:
    """All layers of a release that are missing here, and its folder.

    Raises ``NotTrusted``, ``Unsuitable``, ``HostileArchive``, ``NotThere`` or ``Unreachable``;
    whatever of it is raised, nothing that was complete has changed.
    """
    start = time.monotonic()
    release, content, signature = trusted.release(digest)
    check_counter(host, release, allow_older=wishes.allow_older)
    if wishes.again:
        with host.locked():
            repair.forget_broken(host, release)
    plans = [
        _plan(host, trusted, kind, getattr(release, kind))
        for kind in ("env", "app")
        if not _is_complete(host, kind, getattr(release, kind))
    ]
    for plan in plans:
        suitable.check(plan.manifest, host.layer(plan.kind, plan.digest), plan.archives[0].size)
    fetched = 0
    with host.locked(), _usual_modes():
        for plan in plans:
            fetched += _unpack_layer(host, trusted, plan)
        fresh = [plan.kind for plan in plans]
        if not _is_complete(host, "model", release.model):
            fetched += pull(host, trusted, release.model, wishes.model_to)
            fresh.append("model")
        releases.write_folder(host, release, content, signature)
    return Unpacked(release, tuple(fresh), fetched, time.monotonic() - start)


def _is_complete(host: Host, kind: str, digest: str) -> bool:
    """Raises ``NotTrusted`` for a layer that was moved."""
    if host.completion(kind, digest) is None:
        return False
    host.placed(kind, digest)
    return True


def _plan(host: Host, trusted: Trusted, kind: str, digest: str) -> Plan:
    document = trusted.layer(kind, digest)
    return Plan(kind, digest, trusted.manifest(kind, digest), _usable(host, document))


def _usable(host: Host, document: LayerDocument) -> tuple[Archive, ...]:
    """The archives that can be read here, the smallest first; deltas where their base is."""
    formats = compression.readable()
    usable = [
        archive
        for archive in document.archives
        if archive.format in formats
        and (archive.base is None or _is_complete(host, document.layer, archive.base))
    ]
    if not usable:
        offered = ", ".join(sorted({archive.format for archive in document.archives})) or "nothing"
        raise Unsuitable(
            f"{document.layer} layer {document.digest[:12]}: no archive that this host can read "
            f"(offered: {offered}): install zstd, or pack it as tar.gz too"
        )
    return tuple(sorted(usable, key=lambda archive: archive.size))


def _unpack_layer(host: Host, trusted: Trusted, plan: Plan) -> int:
    """Bytes fetched.  A delta whose base has been changed here gives way to a whole archive."""
    for archive in plan.archives:
        name = f"archives/{archive.name}"
        path = fetch.fetched(trusted.depot, name, archive.sha256, archive.size, host.parts)
        try:
            _write_layer(host, plan, archive, path)
        except NotTrusted:
            if archive.base is None or archive is plan.archives[-1]:
                raise
            continue
        if path.parent == host.parts:
            path.unlink()
        return archive.size
    raise AssertionError("the last archive returns or raises")


def _write_layer(host: Host, plan: Plan, archive: Archive, path: Path) -> None:
    tree = host.layer(plan.kind, plan.digest)
    host.completion_path(plan.kind, plan.digest).unlink(missing_ok=True)
    trees.remove(tree)
    tree.mkdir(parents=True)
    write(host.manifest_path(plan.kind, plan.digest), spelt(plan.manifest.as_json()))
    try:
        changed = _extracted(host, plan, archive, path)
        with _synced(tree):
            selfcheck.check(tree, plan.manifest)
    except EnvpackError:
        trees.remove(tree)
        raise
    sync_folder(tree.parent)
    host.complete(plan.kind, plan.digest, Completion(str(tree), time.time(), changed))


def _extracted(host: Host, plan: Plan, archive: Archive, path: Path) -> extract.Changed:
    base = None
    if archive.base is not None:
        manifest = host.manifest(plan.kind, archive.base)
        base = (host.placed(plan.kind, archive.base), manifest)
    extraction = extract.Extraction(plan.manifest, host.layer(plan.kind, plan.digest))
    with compression.decompressed(path, archive.format) as stream:
        extraction.run(Members(stream), base)
    return extraction.changed


@contextmanager
def _synced(tree: Path) -> Iterator[None]:
    """Brings the tree to the disk meanwhile: what is marked complete survives a power failure."""
    command = ["sync", "--file-system", str(tree)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:  # noqa: S603 - coreutils
        yield
    if process.returncode:  # coreutils before 8.24 cannot sync one file system
        os.sync()


@contextmanager
def _usual_modes() -> Iterator[None]:
    """Files get the modes that are asked for, whatever the caller's umask."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
