"""Removes releases that nobody needs, and layers that no release names any more.

Never what ``current``, ``previous`` or the canary names, nor what a live process uses: one that
maps a file of it, works in it, was started from it, names it in its environment, or holds the
lock that a release's programs take when they start.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from envpack.node import canary, leftovers, selfcheck, trees
from envpack.node.errors import NotThere, NotTrusted
from envpack.node.host import Host
from envpack.node.model import LAYERS, Release, is_digest

_PROC = Path("/proc")


@dataclass(frozen=True)
class Pruned:
    releases: tuple[str, ...]
    layers: tuple[str, ...]  #: ``env/<digest>``
    in_use: tuple[str, ...]  #: would have gone, but a process uses them
    unseen: int  #: processes of other users, into which this one cannot look
    downloads: int = 0  #: bytes of those that broke off


def prune(host: Host, *, keep: int, dry_run: bool = False) -> Pruned:
    """All but ``keep`` releases besides those that are named or used.

    Raises ``NotTrusted`` if a release here cannot be read, ``NotThere`` without the current one.
    """
    with host.locked(), host.switching():
        leftovers.undo(host)
        texts, unseen = _living()
        used = _Used(host, texts)
        releases = host.releases()
        named = {host.linked("current"), host.linked("previous")}
        chosen = canary.shown(host)
        named |= {chosen.release} if chosen else set()
        _check_readable(host, named)
        spare = [digest for digest in releases if digest not in named][max(keep, 0) :]
        busy = [digest for digest in spare if used.release(digest)]
        gone = [digest for digest in spare if digest not in busy]
        kept = [release for digest, release in releases.items() if digest not in gone]
        layers = _orphans(host, kept)
        free = [(kind, digest) for kind, digest in layers if not used.layer(kind, digest)]
        held = [f"{kind}/{digest}" for kind, digest in layers if (kind, digest) not in free]
        downloads = leftovers.downloads(host)
        if not dry_run:
            _remove(host, gone, free)
            leftovers.remove_drafts(host)
            leftovers.remove_halves(host)
            trees.remove(host.parts)
        return Pruned(tuple(gone), tuple(map("/".join, free)), (*busy, *held), unseen, downloads)


def is_used(host: Host, kind: str, digest: str) -> bool:
    """Whether a live process uses a layer, or holds the lock of a release that names it.

    A process that only tries it does not count: one may be left of a run that was killed.
    """
    texts = [text for text in _living()[0] if f"{selfcheck.MARK}=" not in text]
    naming = [name for name, one in host.releases().items() if getattr(one, kind) == digest]
    return _Used(host, texts).layer(kind, digest) or any(
        is_locked(host.release_folder(name)) for name in naming
    )


def is_locked(release: Path) -> bool:
    """Whether a program that was started from a release's folder lives."""
    with (release / "release.json").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _check_readable(host: Host, named: Container[str | None]) -> None:
    """The layers of a release that cannot be read, or is gone, would be taken for nobody's."""
    current = host.linked("current")
    if current is not None and not host.release_folder(current).exists():
        raise NotThere(f"current: release {current[:12]} is not here: unpack it, then prune")
    for name, why in host.odd().items():
        folder = host.release_folder(name)
        if name in named or (is_digest(name) and (folder / "release.json").exists()):
            raise NotTrusted(f"{why}; or remove {folder}; then prune")


def _remove(host: Host, releases: Iterable[str], layers: Iterable[tuple[str, str]]) -> None:
    for digest in releases:
        folder = host.release_folder(digest)
        aside = folder.with_name(f".{digest}")
        trees.remove(aside)
        folder.rename(aside)  # gone at once; what is left of it is no release
        trees.remove(aside)
    for kind, digest in layers:
        # The mark first: what follows may be interrupted.
        host.completion_path(kind, digest).unlink(missing_ok=True)
        trees.remove(host.layer(kind, digest))
        host.manifest_path(kind, digest).unlink(missing_ok=True)


def _orphans(host: Host, kept: Iterable[Release]) -> list[tuple[str, str]]:
    needed = {(kind, getattr(release, kind)) for release in kept for kind in LAYERS}
    return [one for one in host.layers() if one not in needed]


class _Used:
    """What live processes use of a host."""

    def __init__(self, host: Host, texts: list[str]) -> None:
        self._host, self._texts = host, texts

    def release(self, digest: str) -> bool:
        # Its programs have the digest in their environment (PACKSHOT_RELEASE).
        return self._seen(digest) or is_locked(self._host.release_folder(digest))

    def layer(self, kind: str, digest: str) -> bool:
        return self._seen(str(self._host.layer(kind, digest)))

    def _seen(self, name: str) -> bool:
        return any(name in text for text in self._texts)


def _living() -> tuple[list[str], int]:
    """Maps, folder, program and environment of each process; how many could not be read."""
    texts, unseen = [], 0
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and folder.name != str(os.getpid()):
            try:
                texts.append("\n".join(_said_by(folder)))
            except PermissionError:
                unseen += 1
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
    return texts, unseen


def _said_by(process: Path) -> Iterator[str]:
    for name in ("maps", "environ", "cmdline"):
        yield (process / name).read_bytes().decode(errors="replace")
    for name in ("cwd", "exe"):
        with contextlib.suppress(FileNotFoundError):  # a kernel's thread has none
            yield str((process / name).readlink())
