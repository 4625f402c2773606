"""A release's layers onto this host: from a signed name to a tree that is complete.

    documents, signatures, counter ─► does it fit here? ─► archives, sha256
      ─► tree beside its place ─► put there, self-check, sync ─► marked complete ─► release folder

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

from envpack.node import (
    compression,
    extract,
    fetch,
    leftovers,
    plan,
    releases,
    repair,
    selfcheck,
    trees,
    weights,
)
from envpack.node.errors import EnvpackError, InvalidManifest, NotThere, NotTrusted
from envpack.node.host import Completion, Host, sync_folder, writing
from envpack.node.model import LAYERS, Archive, Release
from envpack.node.plan import Wishes
from envpack.node.trust import Trusted, check_counter


@dataclass(frozen=True)
class Unpacked:
    release: Release
    fresh: tuple[str, ...]  #: the layers that were not here before
    fetched: int  #: bytes
    seconds: float


USUAL = Wishes()


def unpack(host: Host, trusted: Trusted, digest: str, wishes: Wishes = USUAL) -> Unpacked:
    """All layers of a release that are missing here, and its folder.

    Raises ``NotTrusted``, ``Unsuitable``, ``HostileArchive``, ``NotThere`` or ``Unreachable``;
    whatever of it is raised, nothing that was complete has changed.
    """
    start = time.monotonic()
    release, content, signature = trusted.release(digest)
    # One at a time from here on: what another run completes meanwhile is never planned for.
    with host.locked():
        leftovers.remove(host)
        check_counter(host, release, allow_older=wishes.allow_older)
        began = {kind: host.clock(kind) for kind in LAYERS} if wishes.again else {}
        missing = plan.made(host, trusted, release, wishes)
        plan.check(host, trusted, missing)
        ready = [tree.first or _fetched(host, trusted, tree.archives[0]) for tree in missing.trees]
        fetched = 0
        for tree, path in zip(missing.trees, ready):
            fetched += _unpack_layer(host, trusted, tree, path)
        if missing.model:
            fetched += weights.complete(host, trusted, missing.model)
        releases.write_folder(host, release, content, signature)
        if wishes.again:
            repair.renew(host, release, missing.kinds, began)
    return Unpacked(release, missing.kinds, fetched, time.monotonic() - start)


def _fetched(host: Host, trusted: Trusted, archive: Archive) -> Path:
    """An archive of whose bytes each is what the layer's document says."""
    name = f"archives/{archive.name}"
    return fetch.fetched(trusted.depot, name, archive.sha256, archive.size, host.parts)


def _unpack_layer(host: Host, trusted: Trusted, layer: plan.Tree, path: Path) -> int:
    """Bytes fetched.  A delta whose base, or the base's note, is not as it was here gives way to a
    whole archive.
    """
    for archive, other in zip(layer.archives, (*layer.archives[1:], None)):
        try:
            _write_layer(host, layer, archive, path)
        except (InvalidManifest, NotThere, NotTrusted):
            if archive.base is None or other is None:
                raise
            _forget(host, path)
            path = _fetched(host, trusted, other)
            continue
        _forget(host, path)
        return archive.size
    raise AssertionError("the last archive returns or raises")


def _forget(host: Host, archive: Path) -> None:
    """Nobody needs it any more; in a depot of this host it stays."""
    if archive.parent == host.parts:
        archive.unlink()


def _write_layer(host: Host, layer: plan.Tree, archive: Archive, path: Path) -> None:
    tree, draft = host.layer(layer.kind, layer.digest), host.draft(layer.kind, layer.digest)
    draft.mkdir(parents=True)
    host.put_manifest(layer.kind, layer.digest, layer.manifest)
    try:
        with writing(draft):
            changed = _extracted(host, layer, archive, path)
        with trees.put(draft, tree):
            with _synced(tree):
                selfcheck.check(tree, layer.manifest)
            sync_folder(tree.parent)
            done = Completion(str(tree), host.clock(layer.kind), changed)
            host.complete(layer.kind, layer.digest, done)
    except (EnvpackError, OSError):  # of a full disk, above all: it shall not stay full
        trees.remove(draft)
        raise


def _extracted(host: Host, layer: plan.Tree, archive: Archive, path: Path) -> extract.Changed:
    base = None
    if archive.base is not None:
        manifest = host.manifest(layer.kind, archive.base)
        base = (host.placed(layer.kind, archive.base), manifest)
    places = host.draft(layer.kind, layer.digest), host.layer(layer.kind, layer.digest)
    extraction = extract.Extraction(layer.manifest, *places)
    extraction.run(compression.sections(path, archive), base)
    return extraction.changed


@contextmanager
def _synced(tree: Path) -> Iterator[None]:
    """Brings the tree to the disk meanwhile: what is marked complete survives a power failure."""
    # Naming the tree itself, a sync that outlives a killed run would seem to use it.
    command = ["sync", "--file-system", str(tree.parent)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:  # noqa: S603 - coreutils
        yield
    if process.returncode:  # coreutils before 8.24 cannot sync one file system
        os.sync()
