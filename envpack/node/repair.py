"""What is here but not as it was unpacked: found before anything of it is touched, made again."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from envpack.node import activate, prune, releases, weights
from envpack.node.errors import EnvpackError, Unsuitable
from envpack.node.host import Host
from envpack.node.integrity import differing
from envpack.node.model import LAYERS, Release


def broken(host: Host, release: Release) -> frozenset[str]:
    """Kinds of its layers.  Raises ``Unsuitable`` if a process uses what must be replaced."""
    found = [kind for kind in LAYERS if _is_broken(host, kind, getattr(release, kind))]
    for kind in found:
        digest = getattr(release, kind)
        if prune.is_used(host, kind, digest):
            raise Unsuitable(
                f"{kind} layer {digest[:12]}: changed since it was unpacked, and processes use it: "
                "stop them first"
            )
    return frozenset(found)


def renew(host: Host, release: Release, fresh: Container[str], began: Mapping[str, float]) -> None:
    """Marks of what was found to be as it was when it ``began``: a quick check believes times.
    And the folders of releases that name a layer which stands elsewhere now.
    """
    for kind in LAYERS:
        digest = getattr(release, kind)
        done = host.completion(kind, digest)
        if done is not None and kind not in fresh:
            host.complete(kind, digest, replace(done, completed=began[kind]))
    for other in host.releases().values():
        if activate.state_of(host, other) == "ready":
            releases.renew_folder(host, other)


def _is_broken(host: Host, kind: str, digest: str) -> bool:
    try:
        if host.completion(kind, digest) is None:
            return False
        if kind == "model":
            manifest = host.manifest(kind, digest)
            return bool(weights.differences(host.placed(kind, digest), manifest))
        return bool(differing(host, kind, digest, quick=False))
    except EnvpackError:
        return True  # moved, or a document of it is damaged
