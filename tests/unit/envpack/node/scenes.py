"""Hosts on which something is unpacked."""

from __future__ import annotations

import subprocess
from pathlib import Path

from envpack.node import depot as depots
from envpack.node.host import Host
from envpack.node.minisign import PublicKey
from envpack.node.model import LayerDocument, Manifest
from envpack.node.plan import Wishes
from envpack.node.trust import Trusted
from envpack.node.unpack import Unpacked, unpack
from tests.envpack_depot import APP, SIGNER, Content, TestDepot


def trusted(depot: TestDepot) -> Trusted:
    return Trusted(depots.depot(str(depot.folder)), [PublicKey.from_text(SIGNER.public)])


def unpacked(host: Host, depot: TestDepot, release: str, *, allow_older: bool = False) -> Unpacked:
    return unpack(host, trusted(depot), release, Wishes(allow_older=allow_older))


def with_files(content: Content, **files: bytes) -> Content:
    """A layer and some files more; ``lib__new`` is ``lib/new``."""
    new = {path.replace("__", "/"): (data, 0o644) for path, data in files.items()}
    return Content(files={**content.files, **new}, links=content.links, facts=content.facts)


def app_of(depot: TestDepot, number: int) -> str:
    """An application's layer unlike any other number's."""
    return depot.layer("app", with_files(APP, worker__number=str(number).encode()))


def releases(host: Host, depot: TestDepot, count: int) -> list[str]:
    """Digests of ``count`` releases on the host, their counters from 1 on."""
    made = [depot.release(number + 1, app=app_of(depot, number)) for number in range(count)]
    for digest in made:
        unpacked(host, depot, digest)
    return made


def sized(depot: TestDepot, kind: str, content: Content, size: int) -> str:
    """A layer that says of itself to hold ``size`` bytes more."""
    manifest = content.manifest(kind).as_json()
    manifest["files"].append(["zz", "a" * 64, size, 0o644])
    whole = Manifest.from_json(manifest)
    depot.manifest(whole)
    archives = () if kind == "model" else (depot.archive(b"x"),)
    depot.document(LayerDocument(kind, whole.digest, archives))
    return whole.digest


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def written(host: Host) -> list[str]:
    """Everything below the root, but for the lock."""
    return sorted(str(path.relative_to(host.root)) for path in host.root.glob("*/*"))


def started(host: Host, release: str) -> str:
    """What the release's worker says, which the depot's Python stands in for."""
    program = str(host.release_folder(release) / "bin/packshot-worker")
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout
