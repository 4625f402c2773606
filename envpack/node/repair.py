"""Forgets what is here but not as it was unpacked, so that the next unpack makes it again."""

from __future__ import annotations

from envpack.node import prune, trees, weights
from envpack.node.errors import EnvpackError, Unsuitable
from envpack.node.host import Host
from envpack.node.integrity import differing
from envpack.node.model import LAYERS, Release


def forget_broken(host: Host, release: Release) -> None:
    """Under the root's lock.  Raises ``Unsuitable`` if a process uses what must be replaced."""
    broken = [kind for kind in LAYERS if _is_broken(host, kind, getattr(release, kind))]
    for kind in broken:
        digest = getattr(release, kind)
        if prune.is_used(host, kind, digest):
            raise Unsuitable(
                f"{kind} layer {digest[:12]}: changed since it was unpacked, and processes use it: "
                "stop them first"
            )
    for kind in broken:
        host.completion_path(kind, getattr(release, kind)).unlink()
    if broken:
        trees.remove(host.release_folder(release.digest))


def _is_broken(host: Host, kind: str, digest: str) -> bool:
    if host.completion(kind, digest) is None:
        return False
    try:
        if kind == "model":
            manifest = host.manifest(kind, digest)
            return bool(weights.differences(host.placed(kind, digest), manifest))
        return bool(differing(host, kind, digest, quick=False))
    except EnvpackError:
        return True  # moved, or its manifest is damaged
