"""Names three layers that run together, with a counter that only rises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from envpack.node.errors import InvalidManifest, NotThere, NotTrusted
from envpack.node.minisign import Signature, verify
from envpack.node.model import LAYERS, Release, checked_digest, spelt
from envpack.pack.depot import DepotFolder
from envpack.pack.errors import named
from envpack.pack.requirements import unmet
from envpack.pack.sign import SecretKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    """The digests of what a release runs."""

    env: str
    app: str
    model: str
    without: tuple[str, ...] = ()  #: packages that the application asks for, and does without


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """When and from which commit it is made; ``counter``: ``None`` takes the next one."""

    git_commit: str
    day: date
    counter: int | None = None


def make_release(depot: DepotFolder, layers: Layers, origin: Origin, key: SecretKey) -> Release:
    """Into the depot, signed; so are the documents of its layers.

    Raises ``NotThere`` for a layer that the depot has not, ``InvalidManifest`` for a counter
    that does not rise, and for an application that this environment does not serve.
    """
    minimum_driver = _checked(depot, layers)
    for kind in LAYERS:
        sign_document(depot, f"layers/{getattr(layers, kind)}.json", key)
    with depot.locked():
        release = _next(depot.releases(), layers, origin, minimum_driver)
        name = f"releases/{release.digest}.json"
        # Signed before it can be seen: a release without a signature is no release.
        data = spelt(release.as_json())
        depot.put(f"{name}.minisig", key.signature(data, _comment(name)).encode())
        depot.put(name, data)
    return release


def _next(
    releases: Sequence[Release], layers: Layers, origin: Origin, minimum_driver: str
) -> Release:
    highest = releases[-1].counter if releases else 0
    counter = highest + 1 if origin.counter is None else origin.counter
    if counter <= highest:
        raise InvalidManifest(f"counter {counter}: the depot has {highest} already; it only rises")
    return Release(
        counter=counter,
        name=_name(origin.day, [one.name for one in releases]),
        env=layers.env,
        app=layers.app,
        model=layers.model,
        git_commit=origin.git_commit,
        minimum_driver=minimum_driver,
    )


def sign_document(depot: DepotFolder, name: str, key: SecretKey) -> bool:
    """Whether it had to be; a signature that holds is left as it is.  Raises ``NotThere``."""
    with depot.locked():
        data = depot.read(name)
        if _holds(depot, name, data, key):
            return False
        depot.put(f"{name}.minisig", key.signature(data, _comment(name)).encode())
    return True


def _holds(depot: DepotFolder, name: str, data: bytes, key: SecretKey) -> bool:
    try:
        text = depot.read(f"{name}.minisig").decode("utf-8", errors="replace")
        verify(name, data, Signature.from_text(text), [key.public])
    except (NotThere, NotTrusted, InvalidManifest):
        return False
    return True


def _comment(name: str) -> str:
    """What the signature is of: a document cannot be given for another of another name."""
    return f"file:{name}"


def _checked(depot: DepotFolder, layers: Layers) -> str:
    """The minimum driver, once all three layers are there and of their kind."""
    for kind in LAYERS:
        digest = checked_digest(kind, getattr(layers, kind))
        found = depot.manifest(digest).layer
        if found != kind:
            raise InvalidManifest(f"{kind}: {digest} is a layer of kind {found}")
        if depot.document(digest) is None:
            raise NotThere(f"{depot.folder}: holds no layers/{digest}.json; pack it again")
    environment = depot.manifest(layers.env).facts
    requires = depot.manifest(layers.app).facts.get("requires", ())
    wrong = unmet(requires, environment, layers.without)
    if wrong:
        raise InvalidManifest(
            f"app: {layers.app[:12]} asks for what env {layers.env[:12]} has not: {named(wrong)}."
            " Build the environment anew, or say what it does without: --without PACKAGE"
        )
    return str(environment.get("minimum_driver", ""))


def _name(day: date, taken: list[str]) -> str:
    """For people: ``2026.11.22-1``, the first of its day."""
    prefix = f"{day:%Y.%m.%d}-"
    used = [int(name.removeprefix(prefix)) for name in taken if _is_of(prefix, name)]
    return f"{prefix}{max(used, default=0) + 1}"


def _is_of(prefix: str, name: str) -> bool:
    return name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
