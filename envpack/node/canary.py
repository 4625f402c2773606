"""Cards that start from another release than ``current``, to see how it does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from envpack.node.errors import InvalidManifest, NotThere
from envpack.node.host import Host, write
from envpack.node.model import LAYERS, checked_digest, spelt


@dataclass(frozen=True)
class Canary:
    release: str  #: digest
    cards: tuple[str, ...]  #: as workers name them: an index, or ``GPU-<uuid>``

    def __post_init__(self) -> None:
        checked_digest("canary", self.release)
        if not self.cards or not all(self.cards):
            raise InvalidManifest("canary: name at least one card")


def release_for(root: Path, *names: str) -> Path:
    """The release's folder from which the worker of a card starts; ``names`` of the card.

    Raises ``NotThere`` if none is active.
    """
    host = Host(root)
    canary = shown(host)
    if canary is not None and set(names) & set(canary.cards):
        return host.release_folder(canary.release)
    current = host.linked("current")
    if current is None:
        raise NotThere(f"{host.root}: no release is active: packshot-env activate RELEASE")
    return host.release_folder(current)


def shown(host: Host) -> Canary | None:
    path = _path(host)
    try:
        value = json.loads(path.read_bytes())
        return Canary(value["release"], tuple(value["cards"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as fault:
        raise InvalidManifest(
            f"{path}: cannot be read ({fault}): packshot-env canary clear"
        ) from fault


def set_to(host: Host, digest: str, cards: Sequence[str]) -> Canary:
    """Raises ``NotThere`` for a release that is not whole here."""
    canary = Canary(digest, tuple(cards))
    with host.locked():
        release = host.release(digest)
        for kind in LAYERS:
            host.placed(kind, getattr(release, kind))
        write(_path(host), spelt(asdict(canary)))
    return canary


def clear(host: Host) -> Canary | None:
    """What was set, if anything was."""
    with host.locked():
        try:
            before = shown(host)
        except InvalidManifest:
            before = None
        _path(host).unlink(missing_ok=True)
    return before


def _path(host: Host) -> Path:
    return host.root / "canary.json"
