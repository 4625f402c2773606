"""Small depots for tests: layers, archives and releases, signed with a key that guards nothing."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from zstandard import ZstdCompressor, ZstdDecompressor

from envpack.node.model import (
    Archive,
    FileRecord,
    LayerDocument,
    LinkRecord,
    Manifest,
    Prefix,
    Release,
    spelt,
)
from tests.envpack_signer import Signer

SIGNER = Signer(b"\x0b" * 32)
#: As conda makes it: 255 characters.
PLACEHOLDER = ("/opt/" + "_h_env_placehold_" * 20)[:255]

#: Releases of another run of these tests beside this one have other digests: a process that was
#: started from one must not seem to use this run's.
_COMMIT = os.urandom(20).hex()


def digest_of(content: bytes) -> str:
    return sha256(content).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Content:
    """One layer's files by path, ``(content, mode)``, and its links."""

    files: dict[str, tuple[bytes, int]]
    links: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def manifest(self, kind: str) -> Manifest:
        return Manifest(
            layer=kind,
            files=tuple(_record(path, *one) for path, one in sorted(self.files.items())),
            links=tuple(LinkRecord(path, target) for path, target in sorted(self.links.items())),
            facts=self.facts,
        )


def _record(path: str, content: bytes, mode: int) -> FileRecord:
    prefix = None
    if PLACEHOLDER.encode() in content:
        prefix = Prefix(PLACEHOLDER, "binary" if b"\0" in content else "text")
    return FileRecord(path, digest_of(content), len(content), mode, prefix)


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:  # noqa: ANN401
    """What an honest member looks like, with any field changed."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def members_of(content: Content, *, without: frozenset[str] = frozenset()) -> list[Any]:
    """Honest members of a layer, but for the files whose sha256 stands in ``without``."""
    found = [
        member(path, data, mode=mode)
        for path, (data, mode) in content.files.items()
        if digest_of(data) not in without or PLACEHOLDER.encode() in data
    ]
    found += [
        member(path, type=tarfile.SYMTYPE, linkname=target)
        for path, target in content.links.items()
    ]
    return sorted(found, key=lambda one: one[0].name)


def tar_of(members: list[Any], kind: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content) if content else None)
    return stream.getvalue()


def zstd(raw: bytes) -> bytes:
    """As the program writes what it reads from a pipe; a machine need not have it."""
    return ZstdCompressor(write_checksum=True, write_content_size=False).compress(raw)


def unzstd(archive: Path) -> bytes:
    with archive.open("rb") as raw:
        return ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()


class TestDepot:
    """A depot in a folder."""

    __test__ = False

    def __init__(self, folder: Path, signer: Signer = SIGNER) -> None:
        self.folder, self.signer = folder, signer

    def put(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def archive(self, tar: bytes, form: str = "tar.gz", base: str | None = None) -> Archive:
        raw = gzip.compress(tar, 1, mtime=0) if form == "tar.gz" else zstd(tar)
        archive = Archive(digest_of(raw), len(raw), form, base)
        self.put(f"archives/{archive.name}", raw)
        return archive

    def layer(self, kind: str, content: Content, archives: list[Archive] | None = None) -> str:
        """The digest; of a model layer the files lie one by one."""
        manifest = content.manifest(kind)
        if kind == "model":
            for data, _ in content.files.values():
                self.put(f"files/{digest_of(data)}", data)
        elif archives is None:
            archives = [self.archive(tar_of(members_of(content)))]
        self.manifest(manifest)
        self.document(LayerDocument(kind, manifest.digest, tuple(archives or ())))
        return manifest.digest

    def manifest(self, manifest: Manifest) -> None:
        self.put(f"manifests/{manifest.digest}.json", spelt(manifest.as_json()))

    def document(self, document: LayerDocument) -> None:
        self.signed(f"layers/{document.digest}.json", spelt(document.as_json()))

    def release(self, counter: int = 1, **layers: str) -> str:
        release = Release(
            counter=counter, name=f"test-{counter}", git_commit=_COMMIT, **self.usual(layers)
        )
        self.signed(f"releases/{release.digest}.json", spelt(release.as_json()))
        return release.digest

    def usual(self, layers: dict[str, str]) -> dict[str, str]:
        """Small layers where a test names none."""
        given = dict(layers)
        for kind, content in (("env", ENV), ("app", APP), ("model", MODEL)):
            if kind not in given:
                given[kind] = self.layer(kind, content)
        return given

    def signed(self, name: str, content: bytes) -> None:
        self.put(name, content)
        self.put(f"{name}.minisig", self.signer.minisig(content, comment=name).encode())


#: A Python of a few lines: it says where it is, and runs ``-m MODULE`` as the test wants.
_PYTHON = """#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
case "$*" in
  *importlib*) echo "[\\"$here\\", {}]" ;;
  *) echo "$0 $*"; env; [ -z "$PACKSHOT_TEST_WAIT" ] || read -r line ;;
esac
"""
ENV = Content(
    files={
        "bin/python": (_PYTHON.encode(), 0o755),
        "bin/tool": (f"#!{PLACEHOLDER}/bin/python\nprint(1)\n".encode(), 0o755),
        "etc/demo.conf": (f"prefix={PLACEHOLDER}\n".encode(), 0o644),
        "lib/blob.bin": (b"\x7fELF\0" + PLACEHOLDER.encode() + b"/lib\0tail\0", 0o644),
        "lib/deep/er/data.txt": (b"data\n" * 1000, 0o644),
        "lib/empty": (b"", 0o644),
    },
    links={"lib64": "lib", "lib/deep/up": "../empty"},
    facts={"python": "3.11.7", "imports": []},
)
APP = Content(files={"worker/__init__.py": (b"", 0o644), "worker/cli.py": (b"A = 1\n", 0o644)})
MODEL = Content(
    files={"model_index.json": (b"{}", 0o644), "unet/weights.bin": (b"w" * 5000, 0o644)}
)
