"""Which release runs: switched by one rename, and switched back the same way.

Workers resolve ``current`` once, when they start, and stay with what they started from.
"""

from __future__ import annotations

from dataclasses import dataclass

from envpack.node.errors import EnvpackError, NotThere
from envpack.node.host import FORMER, Host, link, write
from envpack.node.model import LAYERS, Release
from envpack.node.trust import check_counter


@dataclass(frozen=True)
class Switched:
    release: Release
    before: str | None  #: digest


def activate(host: Host, digest: str, *, allow_older: bool = False) -> Switched:
    """Point ``current`` at a release that is unpacked; remember what was.

    Raises ``NotThere`` if a layer is missing, ``NotTrusted`` for a moved or an older one.
    """
    with host.switching():
        return _activated(host, digest, allow_older=allow_older)


def roll_back(host: Host) -> Switched:
    """To what ran before; nothing is unpacked.  Raises ``NotThere`` if nothing did."""
    with host.switching():
        previous = host.linked("previous")
        if previous is None or previous == host.linked("current"):
            raise NotThere(f"{host.root}: nothing was active before what is now")
        return _activated(host, previous, allow_older=True)


def _activated(host: Host, digest: str, *, allow_older: bool) -> Switched:
    release = host.release(digest)
    check_counter(host, release, allow_older=allow_older)
    for kind in LAYERS:
        host.placed(kind, getattr(release, kind))
    before = host.linked("current")
    if release.counter > host.highest()[0]:
        write(host.root / "highest", f"{release.counter} {digest}\n".encode())
    if before != digest:
        _switch(host, before, digest)
    return Switched(release, before)


def _switch(host: Host, before: str | None, digest: str) -> None:
    """It has happened once ``current`` is renamed; what is killed earlier has changed nothing."""
    former, previous = host.root / FORMER, host.linked("previous")
    if previous is not None:
        link(former, f"releases/{previous}")
    else:
        former.unlink(missing_ok=True)
    if before is not None:
        link(host.root / "previous", f"releases/{before}")
    link(host.root / "current", f"releases/{digest}")
    former.unlink(missing_ok=True)


def state_of(host: Host, release: Release) -> str:
    """``ready``, or what keeps the release from being started."""
    try:
        for kind in LAYERS:
            host.placed(kind, getattr(release, kind))
    except EnvpackError as fault:
        return str(fault)
    return "ready"
