"""Signed documents of a depot, read only once their signature and digest hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from envpack.node import depot as depots
from envpack.node import minisign
from envpack.node.depot import Depot
from envpack.node.errors import InvalidManifest, NotThere, NotTrusted
from envpack.node.fetch import ADVICE
from envpack.node.host import Host
from envpack.node.minisign import PublicKey, Signature
from envpack.node.model import LayerDocument, Manifest, Release, checked_digest, parsed, spelt

_MAX_DOCUMENT = 1 << 20  # bytes; a release is 500, a layer with a hundred deltas 20,000
_MAX_MANIFEST = 1 << 28  # bytes; 35,500 files make 5,000,000


@dataclass(frozen=True)
class Trusted:
    """A depot, and the keys whose signatures count."""

    depot: Depot
    keys: Sequence[PublicKey]

    def release(self, digest: str) -> tuple[Release, bytes, bytes]:
        """With the bytes that were signed and their signature.  Raises ``NotTrusted``."""
        name = f"releases/{checked_digest('release', digest)}.json"
        content, signature = self._signed(name)
        _check_digest(name, content, digest)
        release = Release.from_json(parsed(name, content))
        _check_spelling(name, content, release.as_json())
        return release, content, signature

    def layer(self, kind: str, digest: str) -> LayerDocument:
        """Raises ``NotTrusted``."""
        name = f"layers/{digest}.json"
        content, _ = self._signed(name)
        document = LayerDocument.from_json(parsed(name, content))
        if (document.layer, document.digest) != (kind, digest):
            raise NotTrusted(f"{name}: signed, but for {document.layer} layer {document.digest}")
        return document

    def manifest(self, kind: str, digest: str) -> Manifest:
        """Raises ``NotTrusted``."""
        name = f"manifests/{digest}.json"
        content = depots.read(self.depot, name, _MAX_MANIFEST)
        _check_digest(name, content, digest)
        manifest = Manifest.from_json(parsed(name, content))
        _check_spelling(name, content, manifest.as_json())
        if manifest.layer != kind:
            raise NotTrusted(f"{name}: a manifest of layer {manifest.layer}, not {kind}")
        return manifest

    def _signed(self, name: str) -> tuple[bytes, bytes]:
        content = depots.read(self.depot, name, _MAX_DOCUMENT)
        raw = depots.read(self.depot, f"{name}.minisig", minisign.MAX_BYTES)
        try:
            signature = Signature.from_text(raw.decode())
        except (UnicodeDecodeError, InvalidManifest) as fault:
            raise NotTrusted(
                f"{name}.minisig: no signature ({fault}): is {self.depot.where} a depot?"
            ) from fault
        minisign.verify(name, content, signature, self.keys)
        return content, raw


def keys_of(texts: Iterable[str]) -> tuple[PublicKey, ...]:
    """Each a key itself or the file that holds one.  Raises ``NotThere``, ``InvalidManifest``."""
    return tuple(_key(text) for text in texts)


def _key(text: str) -> PublicKey:
    try:
        path = Path(text)
        return PublicKey.from_text(path.read_text(encoding="utf-8") if path.is_file() else text)
    except (OSError, UnicodeDecodeError) as fault:
        raise NotThere(f"key {text[:80]!r}: cannot be read ({fault})") from fault
    except InvalidManifest as fault:
        raise InvalidManifest(
            f"key {text[:80]!r}: neither a public key nor a file of one ({fault})"
        ) from fault


def check_counter(host: Host, release: Release, *, allow_older: bool) -> None:
    """A release that was replaced must not come back by itself.

    One that is unpacked here already may, with ``allow_older``.  Raises ``NotTrusted``.
    """
    counter, digest = host.highest()
    if release.counter == counter and release.digest != digest:
        raise NotTrusted(
            f"release {release.name}: has counter {counter} like {digest[:12]}, which ran here; "
            "sign it with the next one"
        )
    if release.counter >= counter:
        return
    is_here = (host.release_folder(release.digest) / "release.json").exists()
    if not (allow_older and is_here):
        raise NotTrusted(
            f"release {release.name}: counter {release.counter} is older than {counter}, which "
            f"ran here; only releases still unpacked here may return, with --allow-older"
        )


def _check_digest(name: str, content: bytes, digest: str) -> None:
    found = sha256(content).hexdigest()
    if found != digest:
        raise NotTrusted(f"{name}: sha256 {digest} expected, {found} found: {ADVICE}")


def _check_spelling(name: str, content: bytes, value: dict[str, Any]) -> None:
    if spelt(value) != content:
        raise InvalidManifest(f"{name}: says more than this packshot-env can read; use a newer one")
