"""What a run that was killed leaves: nobody believes it, and the next one removes it.

Only under the root's lock.
"""

from __future__ import annotations

from envpack.node import trees
from envpack.node.host import Host, listed
from envpack.node.model import LAYERS, is_digest


def remove(host: Host) -> None:
    """Trees that are not marked complete, and drafts of whatever is written whole or not at all.

    Weights that are not complete stay, and so do downloads: the next run goes on with them.
    """
    remove_drafts(host)
    for kind, digest in host.layers():
        if kind != "model" and not host.completion_path(kind, digest).exists():
            trees.remove(host.layer(kind, digest))


def remove_drafts(host: Host) -> None:
    for kind, digest in host.layers():
        trees.undo_half(host.draft(kind, digest), host.layer(kind, digest))
    for folder in (*LAYERS, "releases"):
        for path in listed(host.root / folder):
            if path.name.startswith("."):
                trees.remove(path)


def remove_halves(host: Host) -> None:
    """Folders of releases that have lost their document, which was written last."""
    for name in host.odd():
        if is_digest(name) and not (host.release_folder(name) / "release.json").exists():
            trees.remove(host.release_folder(name))


def downloads(host: Host) -> int:
    """Bytes of those that broke off, or whose layer was never unpacked."""
    return sum(path.stat().st_size for path in listed(host.parts))
