"""The same bytes each time, wherever and with whatever they are packed."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from envpack.node.errors import InvalidManifest
from envpack.node.model import Manifest
from envpack.pack.archive import Form
from envpack.pack.depot import DepotFolder
from envpack.pack.errors import NotPackable
from envpack.pack.layers import Packed, pack_environment
from tests.conda_prefix import make_prefix, pip_install
from tests.envpack_depot import unzstd


def test_an_environment_packed_twice_has_one_digest(
    conda_prefix: Path, packed: Packed, tmp_path: Path
) -> None:
    again = pack_environment(conda_prefix, DepotFolder(tmp_path), Form(threads=1))

    assert again.digest == packed.digest
    assert again.archive == packed.archive


def test_one_spec_built_in_two_places_has_one_digest(
    conda_channel: Path, wheelhouse: Path, packed: Packed, tmp_path: Path
) -> None:
    elsewhere = tmp_path / ("a-folder-with-a-much-longer-name-" * 4) / "other"
    make_prefix(conda_channel, elsewhere, tmp_path / "cache")
    pip_install(elsewhere, "--find-links", str(wheelhouse), "--no-compile", "demo-tool")
    long_first_line = (elsewhere / "bin" / "demo-tool").read_bytes()

    other = pack_environment(elsewhere, DepotFolder(tmp_path / "depot"))

    assert long_first_line.startswith(b"#!/bin/sh")
    assert differing(other.manifest, packed.manifest) == set()
    assert other.digest == packed.digest
    assert other.archive == packed.archive


def differing(one: Manifest, other: Manifest) -> set[str]:
    return {record.path for record in set(one.files) ^ set(other.files)}


@pytest.mark.parametrize("form", ["tar.zst", "tar.gz"])
def test_the_number_of_threads_does_not_show(conda_prefix: Path, tmp_path: Path, form: str) -> None:
    archives = {
        pack_environment(
            conda_prefix, DepotFolder(tmp_path / str(threads)), Form(format=form, threads=threads)
        ).archive
        for threads in (1, 3)
    }

    assert len(archives) == 1


def test_what_tar_unpacks_is_what_the_manifest_says(tree: Path, packed: Packed) -> None:
    found = {
        path.relative_to(tree).as_posix(): path
        for path in tree.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }

    files = {record.path: record for record in packed.manifest.files}
    links = {link.path: link.target for link in packed.manifest.links}
    assert found.keys() == files.keys() | links.keys()
    for path, record in files.items():
        data = found[path].read_bytes()
        assert (sha256(data).hexdigest(), len(data)) == (record.sha256, record.size), path
    assert {path: str(found[path].readlink()) for path in links} == links


def test_the_tar_inside_the_gzip_is_the_one_inside_the_zstd(
    conda_prefix: Path, packed: Packed, depot: DepotFolder, tmp_path: Path
) -> None:
    other = DepotFolder(tmp_path)
    zipped = pack_environment(conda_prefix, other, Form(format="tar.gz"))
    assert zipped.archive is not None
    assert packed.archive is not None

    plain = subprocess.run(
        ["gzip", "-dc", other.archive_path(zipped.archive)], check=True, capture_output=True
    ).stdout
    of_zstd = unzstd(depot.archive_path(packed.archive))
    assert sha256(plain).digest() == sha256(of_zstd).digest()


def tar_members(depot: DepotFolder, packed: Packed) -> Iterator[tarfile.TarInfo]:
    assert packed.archive is not None
    plain = unzstd(depot.archive_path(packed.archive))
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        yield from tar


def test_members_are_sorted_owned_by_nobody_and_of_two_modes(
    depot: DepotFolder, packed: Packed
) -> None:
    members = list(tar_members(depot, packed))

    assert [one.name for one in members] == sorted(one.name for one in members)
    assert {(one.uid, one.gid, one.mtime, one.uname) for one in members} == {(0, 0, 0, "")}
    assert {one.mode for one in members} == {0o644, 0o755}
    assert {one.type for one in members} == {tarfile.REGTYPE, tarfile.SYMTYPE}


def test_a_depot_that_has_the_layer_is_not_written_again(
    conda_prefix: Path, packed: Packed, depot: DepotFolder
) -> None:
    assert packed.archive is not None
    path = depot.archive_path(packed.archive)
    before = path.stat()

    again = pack_environment(conda_prefix, depot)

    assert again.archive == packed.archive
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_nothing_is_left_of_a_packing_that_failed(prefix: Path, tmp_path: Path) -> None:
    (prefix / "share" / "blob").write_bytes(str(prefix).encode() + b"\0")
    folder = tmp_path / "depot"

    with pytest.raises(NotPackable):
        pack_environment(prefix, DepotFolder(folder))

    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_level_beyond_what_small_hosts_read_is_refused(
    conda_prefix: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotPackable, match="1 to 15, got 19"):
        pack_environment(conda_prefix, DepotFolder(tmp_path), Form(level=19))


def test_a_manifest_cannot_be_two_kinds_of_layer(packed: Packed) -> None:
    with pytest.raises(InvalidManifest):
        replace(packed.manifest, layer="none")
