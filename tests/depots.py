"""A depot as packing leaves it, with signatures of no key: enough to be brought somewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

from envpack.node.model import Archive, FileRecord, LayerDocument, Manifest, Release, spelt
from envpack.pack.ship import whole

WEIGHTS = b"weights " * 40_000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(depot: Path, path: str, data: bytes) -> str:
    (depot / path).parent.mkdir(parents=True, exist_ok=True)
    (depot / path).write_bytes(data)
    return digest(data)


def add_release(depot: Path, counter: int = 1, env: bytes = b"env " * 50_000) -> str:
    """A release as pack leaves it, with signatures of no key; its digest."""
    layers = {}
    for layer, data in (("env", env), ("app", b"app"), ("model", b"")):
        record = FileRecord(path="a", sha256=digest(data or WEIGHTS), size=1, mode=0o644)
        manifest = Manifest(layer=layer, files=(record,))
        layers[layer] = put(depot, f"manifests/{manifest.digest}.json", spelt(manifest.as_json()))
        archives = []
        if data:
            put(depot, f"archives/{digest(data)}.tar.gz", data)
            archives = [Archive(digest(data), len(data), "tar.gz")]
        else:
            put(depot, f"files/{digest(WEIGHTS)}", WEIGHTS)
        document = LayerDocument(layer, manifest.digest, tuple(archives))
        sign(depot, f"layers/{manifest.digest}.json", spelt(document.as_json()))
        put(depot, f"reports/{manifest.digest}/sbom.cdx.json", b"{}")
    release = Release(counter=counter, name=f"r{counter}", git_commit="0" * 40, **layers)
    sign(depot, f"releases/{release.digest}.json", spelt(release.as_json()))
    return release.digest


def sign(depot: Path, path: str, data: bytes) -> None:
    put(depot, path, data)
    put(depot, f"{path}.minisig", b"signature of " + digest(data).encode())


def content(folder: Path) -> dict[str, bytes]:
    """What a reader sees: parts in progress are no part of a depot."""
    return {path: (folder / path).read_bytes() for path in whole(folder)}
