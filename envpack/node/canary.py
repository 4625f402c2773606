"""Cards that start from another release than ``current``, to see how it does.

Who starts a worker need not know: the program of any release hands a canary's card over
(``IN_SHELL``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from envpack.node import check
from envpack.node.errors import InvalidManifest, NotThere
from envpack.node.host import Host, write
from envpack.node.model import LAYERS, checked_digest, spelt

#: A processor, an index as ``nvidia-smi`` counts, or what its ``-L`` prints: as workers are told.
_CARD = re.compile(r"cpu:\d+|\d+|(GPU|MIG)-[0-9A-Fa-f-]+")
#: For the start of ``packshot-worker``: reads the file, which has one spelling, with ``sh`` alone.
#: An experiment stops no card: one that cannot be started is said, and the card stays here.
IN_SHELL = """\
# A canary's card starts from the canary's release: packshot-env canary set.
if [ "${{1:-}}" = run ] && [ -e {root}/canary.json ]; then
  card=${{PACKSHOT_CARD:-cpu:0}} before='' said=''
  for word in "$@"; do
    case $before:$word in --card:*) card=$word ;; *:--card=*) card=${{word#--card=}} ;; esac
    before=$word
  done
  read -r said <{root}/canary.json || :
  case $said in *"\\"$card\\""*)
    chosen=${{said##*'"release":"'}} && chosen=${{chosen%%'"'*}}
    if [ "$chosen" != {digest} ] && [ -x {root}/releases/"$chosen"/bin/{program} ]; then
      echo "{program}: card $card is a canary's: starting from release $chosen" >&2
      exec {root}/releases/"$chosen"/bin/{program} "$@"
    elif [ "$chosen" != {digest} ]; then
      echo "{program}: card $card is a canary's, but its release is not here; starting from" \\
        "{digest}: packshot-env canary clear" >&2
    fi ;;
  esac
fi
"""


@dataclass(frozen=True)
class Canary:
    release: str  #: digest
    cards: tuple[str, ...]  #: as workers name them: an index, ``GPU-<uuid>``, ``cpu:0``

    def __post_init__(self) -> None:
        checked_digest("canary", self.release)
        if not self.cards:
            raise InvalidManifest("canary: name at least one card")
        for card in self.cards:
            if not _CARD.fullmatch(card):
                raise InvalidManifest(
                    f"canary: a card is an index, GPU-<uuid> or cpu:0, got {card[:80]!r}"
                )


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


def known_as(cards: Iterable[str]) -> tuple[str, ...]:
    """Each card by both of its names, whichever a worker is told; as it is given where no driver
    is, or where the driver lists no such thing.  Raises ``NotThere`` for a card that is not here.
    """
    try:
        pairs = [(one.index, one.uuid) for one in check.cards()]
    except check.NoCard:
        return tuple(cards)
    names: list[str] = []
    for card in cards:
        mine = [pair for pair in pairs if card in pair]
        if not mine and not card.startswith(("cpu", "MIG")):
            found = ", ".join(" ".join(pair) for pair in pairs) or "none"
            raise NotThere(f"card {card[:80]!r}: not on this host, which has {found}")
        names += mine[0] if mine else (card,)
    return tuple(dict.fromkeys(names))


def shown(host: Host) -> Canary | None:
    path = _path(host)
    try:
        value = json.loads(path.read_bytes())
        return Canary(value["release"], tuple(value["cards"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise InvalidManifest(
            f"{path}: cannot be read ({fault}): packshot-env canary clear"
        ) from fault


def set_to(host: Host, digest: str, cards: Sequence[str]) -> Canary:
    """Raises ``NotThere`` for a release that is not whole here."""
    canary = Canary(digest, tuple(cards))
    with host.switching():
        release = host.release(digest)
        for kind in LAYERS:
            host.placed(kind, getattr(release, kind))
        write(_path(host), spelt(asdict(canary)))
    return canary


def clear(host: Host) -> Canary | None:
    """What was set, if anything was."""
    with host.switching():
        try:
            before = shown(host)
        except InvalidManifest:
            before = None
        _path(host).unlink(missing_ok=True)
    return before


def _path(host: Host) -> Path:
    return host.root / "canary.json"
