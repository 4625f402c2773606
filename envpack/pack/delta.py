"""An archive of what one layer has and another has not: two bumped packages, not a gigabyte.

Made from the layer's whole archive in the depot, so it needs no prefix and can be made later, for
whichever layer the hosts still have.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from envpack.node.errors import InvalidManifest, NotThere, NotTrusted
from envpack.node.model import Archive, FileRecord, Manifest
from envpack.pack.archive import Form, write_archive
from envpack.pack.depot import DepotFolder
from envpack.pack.sources import CHUNK


def make_delta(depot: DepotFolder, digest: str, base: str, form: Form | None = None) -> Archive:
    """Of layer ``digest`` for hosts that have ``base``; named in the layer's document.

    Raises ``NotThere``, ``InvalidManifest`` for layers of two kinds.
    """
    manifest, old = depot.manifest(digest), depot.manifest(base)
    if digest == base or manifest.layer == "model" or manifest.layer != old.layer:
        raise InvalidManifest(
            f"a delta is made of two environments or two applications; {digest} is of kind"
            f" {manifest.layer}, {base} of kind {old.layer}"
        )
    document = depot.document(digest)
    archives = document.archives if document else ()
    for one in archives:
        if one.base == base and depot.archive_path(one).is_file():
            return one
    here = (one for one in archives if depot.archive_path(one).is_file())
    whole = next((one for one in here if one.base is None), None)
    if whole is None:
        raise NotThere(f"{depot.folder}: holds no whole archive of layer {digest}: pack it again")
    with depot.part() as part, _members(depot.archive_path(whole), whole) as tar:
        wanted = {record.path: record for record in missing(manifest, old)}
        delta = write_archive(part.file, _chosen(tar, wanted), (), form or Form(), base)
        part.keep_as(depot.archive_path(delta))
    depot.add_archives(manifest.layer, digest, delta)
    return delta


def missing(manifest: Manifest, base: Manifest) -> list[FileRecord]:
    """What a delta holds: content that the base has not, and all that a prefix changes."""
    held = {record.sha256 for record in base.files if record.prefix is None}
    return [
        record
        for record in manifest.files
        if record.prefix is not None or record.sha256 not in held
    ]


@contextmanager
def _members(path: Path, archive: Archive) -> Iterator[tarfile.TarFile]:
    """As a stream; of ``tar.zst`` through zstandard, which this Python's tarfile cannot read."""
    import zstandard  # noqa: PLC0415 - only to pack

    decompressor: Any = zstandard.ZstdDecompressor()
    opened = gzip.open if archive.format == "tar.gz" else decompressor.stream_reader
    try:
        with (
            path.open("rb") as file,
            opened(file) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            yield tar
    except (tarfile.TarError, zstandard.ZstdError, zlib.error, EOFError, gzip.BadGzipFile) as fault:
        raise NotTrusted(
            f"{path}: cannot be read ({fault}): remove it and pack the layer again"
        ) from fault


def _chosen(
    tar: tarfile.TarFile, wanted: dict[str, FileRecord]
) -> Iterator[tuple[FileRecord, Iterator[bytes]]]:
    """In the archive's order, which is the manifest's."""
    for member in tar:
        record = wanted.pop(member.name, None)
        if record is not None and member.isreg():
            yield record, _content(tar, member, record)
    if wanted:
        raise NotTrusted(f"archive: lacks {next(iter(wanted))}, which its manifest names")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, record: FileRecord) -> Iterator[bytes]:
    digest = sha256()
    file = tar.extractfile(member)
    assert file is not None
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != record.sha256:
        raise NotTrusted(f"archive: {record.path} is not what its manifest names")
