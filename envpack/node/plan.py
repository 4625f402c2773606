"""What a release lacks on this host: all that is known of it before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from envpack.node import compression, fetch, repair, suitable, weights
from envpack.node.errors import EnvpackError, Unsuitable
from envpack.node.host import Host
from envpack.node.model import LAYERS, Archive, LayerDocument, Manifest, Release
from envpack.node.suitable import Need
from envpack.node.trust import Trusted


@dataclass(frozen=True)
class Wishes:
    """What an operator may ask for beyond the usual."""

    allow_older: bool = False  #: a release from before, if it is still here
    again: bool = False  #: also layers that are here, but not as they were unpacked
    model_to: Path | None = None  #: another folder for the weights


@dataclass(frozen=True)
class Tree:
    """A layer that is to be unpacked."""

    kind: str
    digest: str
    manifest: Manifest
    archives: tuple[Archive, ...]  #: in the order in which they are tried
    first: Path | None  #: of them, compared already: the depot is a folder of this host


@dataclass(frozen=True)
class Plan:
    trees: tuple[Tree, ...]
    model: weights.Lack | None

    @property
    def kinds(self) -> tuple[str, ...]:
        return (*(tree.kind for tree in self.trees), *(("model",) if self.model else ()))


def made(host: Host, trusted: Trusted, release: Release, wishes: Wishes) -> Plan:
    """By signed documents and the manifests that they name; under the root's lock.

    Raises ``NotTrusted``, ``NotThere``, ``Unreachable`` or ``Unsuitable``.
    """
    broken = repair.broken(host, release) if wishes.again else frozenset()
    lacks = [
        kind
        for kind in LAYERS
        if kind in broken or not _is_complete(host, kind, getattr(release, kind))
    ]
    folder = weights.place(host, release.model, wishes.model_to)
    model = weights.lacking(trusted, release.model, folder) if "model" in lacks else None
    trees = [kind for kind in lacks if kind != "model"]
    return Plan(tuple(_tree(host, trusted, kind, getattr(release, kind)) for kind in trees), model)


def check(host: Host, trusted: Trusted, plan: Plan) -> None:
    """Whether all of it works here and fits together.  Raises ``Unsuitable``."""
    for tree in plan.trees:
        suitable.check(tree.manifest, host.layer(tree.kind, tree.digest))
    suitable.check_room(_needs(host, trusted, plan))


def _needs(host: Host, trusted: Trusted, plan: Plan) -> Iterator[Need]:
    for tree in plan.trees:
        archive = tree.archives[0]
        name = f"archives/{archive.name}"
        come = fetch.to_come(trusted.depot, name, archive.sha256, archive.size, host.parts)
        yield Need(host.parts, come, 1)
        yield suitable.needed(tree.manifest, host.layer(tree.kind, tree.digest))
    if plan.model:
        yield plan.model.needed


def _is_complete(host: Host, kind: str, digest: str) -> bool:
    """Raises ``NotTrusted`` for a layer that was moved."""
    if host.completion(kind, digest) is None:
        return False
    host.placed(kind, digest)
    return True


def _tree(host: Host, trusted: Trusted, kind: str, digest: str) -> Tree:
    archives = _usable(host, trusted.layer(kind, digest))
    first = archives[0]
    # Two of the longer waits before the first byte: comparing lets go of Python's lock.
    with ThreadPoolExecutor(1) as beside:
        name = f"archives/{first.name}"
        here = beside.submit(fetch.local, trusted.depot, name, first.sha256, first.size)
        manifest = trusted.manifest(kind, digest)
    return Tree(kind, digest, manifest, archives, here.result())


def _usable(host: Host, document: LayerDocument) -> tuple[Archive, ...]:
    """The archives that can be read here, the smallest first; deltas where their base is."""
    formats = compression.readable()
    usable = [
        archive
        for archive in document.archives
        if archive.format in formats
        and (archive.base is None or _is_here(host, document.layer, archive.base))
    ]
    if not usable:
        offered = ", ".join(sorted({archive.format for archive in document.archives})) or "nothing"
        raise Unsuitable(
            f"{document.layer} layer {document.digest[:12]}: no archive that this host can read "
            f"(offered: {offered}): install libzstd1, or pack it as tar.gz too"
        )
    return tuple(sorted(usable, key=lambda archive: archive.size))


def _is_here(host: Host, kind: str, digest: str) -> bool:
    try:
        host.placed(kind, digest)
    except EnvpackError:  # or its note is damaged, and that release's own unpack heals it
        return False
    return True
