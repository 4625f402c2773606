"""What a run that was killed leaves: nobody believes it, and the next one removes it.

Only under the root's lock.
"""

from __future__ import annotations

from pathlib import Path

from envpack.node import trees
from envpack.node.host import Host, listed
from envpack.node.model import LAYERS, is_digest


def remove(host: Host) -> None:
    """Trees that are not marked complete, and drafts of whatever is written whole or not at all.

    Weights that are not complete stay, and so do downloads: the next run goes on with them.
    """
    undo(host)
    remove_drafts(host)
    for kind, digest in host.layers():
        if kind != "model" and not host.completion_path(kind, digest).exists():
            trees.remove(host.layer(kind, digest))


def undo(host: Host) -> None:
    """What an exchange had put aside stands at its place again: first of all, or it is missed."""
    for path in _drafts(host):
        trees.undo_half(path)


def remove_drafts(host: Host) -> None:
    for path in _drafts(host):
        trees.remove(path)


def _drafts(host: Host) -> list[Path]:
    folders = [host.root / name for name in (*LAYERS, "releases")]
    return [path for one in folders for path in listed(one) if path.name.startswith(".")]


def remove_halves(host: Host) -> None:
    """Folders of releases that have lost their document, which was written last."""
    for name in host.odd():
        if is_digest(name) and not (host.release_folder(name) / "release.json").exists():
            trees.remove(host.release_folder(name))


def downloads(host: Host) -> int:
    """Bytes of those that broke off, or whose layer was never unpacked."""
    return sum(path.stat().st_size for path in listed(host.parts))
