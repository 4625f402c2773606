"""What a depot's folder holds, and releases that are made in it."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Barrier

import pytest

from envpack.node.errors import NotThere, NotTrusted, Unsuitable
from envpack.node.model import Archive, Manifest, Release
from envpack.pack.depot import DepotFolder
from envpack.pack.errors import NotPackable
from envpack.pack.layers import pack_model
from envpack.pack.release import Layers, Origin, make_release, sign_document
from envpack.pack.sign import SecretKey

A, B = "a" * 64, "b" * 64


NOON = date(2026, 11, 22)


#: Packs until it is killed, and says when it has begun.
PACKING = """
import sys
from pathlib import Path
from envpack.pack.depot import DepotFolder
with DepotFolder(Path(sys.argv[1])).scratch() as folder:
    (folder / "bytecode").write_bytes(b"half")
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_packing_leaves_is_removed_and_what_a_living_one_needs_is_not(
    tmp_path: Path,
) -> None:
    parts = tmp_path / "parts"
    with subprocess.Popen(
        [sys.executable, "-c", PACKING, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        left = sorted(parts.iterdir())
        DepotFolder(tmp_path)
        assert sorted(parts.iterdir()) == left
        process.kill()

    depot = DepotFolder(tmp_path)

    assert len(left) == 2
    assert list(parts.iterdir()) == []
    with depot.part() as part, depot.scratch():
        DepotFolder(tmp_path)
        assert part.path.exists()
    assert list(parts.iterdir()) == []


def test_a_full_disk_is_named_by_the_file_that_had_no_room(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="parts/") as caught, DepotFolder(tmp_path).part():
        raise OSError(errno.ENOSPC, "No space left on device")

    assert caught.value.errno == errno.ENOSPC


def test_a_depot_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "depot").touch()

    with pytest.raises(Unsuitable, match="is no folder"):
        DepotFolder(tmp_path / "depot")


def test_a_manifest_that_was_changed_is_not_read(tmp_path: Path) -> None:
    depot = DepotFolder(tmp_path)
    digest = depot.put_manifest(Manifest(layer="env", files=()))
    (tmp_path / "manifests" / f"{digest}.json").write_text("{}")

    with pytest.raises(NotTrusted, match="holds something else: remove it, then pack again"):
        depot.manifest(digest)
    with pytest.raises(NotThere):
        depot.manifest(B)


def test_a_model_s_file_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").write_bytes(b"weights")
    depot = DepotFolder(tmp_path / "depot")
    pack_model(tmp_path / "model", depot)
    (stored,) = (tmp_path / "depot" / "files").iterdir()
    before = stored.stat().st_mtime_ns

    pack_model(tmp_path / "model", depot)

    assert stored.stat().st_mtime_ns == before
    (tmp_path / "none").mkdir()
    with pytest.raises(NotPackable, match="holds no files"):
        pack_model(tmp_path / "none", depot)


def layers_of(depot: DepotFolder) -> Layers:
    digests = {}
    for kind in ("env", "app", "model"):
        facts = {"minimum_driver": "525.60.13"} if kind == "env" else {}
        digests[kind] = depot.put_manifest(Manifest(layer=kind, files=(), facts=facts))
        depot.add_archives(kind, digests[kind])
    return Layers(env=digests["env"], app=digests["app"], model=digests["model"])


def test_a_release_is_signed_with_all_its_layers(tmp_path: Path, key: SecretKey) -> None:
    depot = DepotFolder(tmp_path / "depot")
    layers = layers_of(depot)

    release = make_release(depot, layers, Origin(git_commit="c" * 40, day=NOON), key)

    assert (release.counter, release.name) == (1, "2026.11.22-1")
    assert release.minimum_driver == "525.60.13"
    name = f"releases/{release.digest}.json"
    assert Release.from_json(json.loads(depot.read(name))) == release
    assert not sign_document(depot, name, key)
    assert not sign_document(depot, f"layers/{layers.env}.json", key)


def test_releases_made_at_once_are_counted_one_by_one(tmp_path: Path, key: SecretKey) -> None:
    folder = tmp_path / "depot"
    layers, ready = layers_of(DepotFolder(folder)), Barrier(8)

    def made(number: int) -> Release:
        """Unlike the others, as of another commit."""
        origin = Origin(git_commit=f"{number}" * 40, day=NOON)
        depot = DepotFolder(folder)
        ready.wait()
        return make_release(depot, layers, origin, key)

    with ThreadPoolExecutor(8) as pool:
        releases = list(pool.map(made, range(8)))

    assert sorted(one.counter for one in releases) == list(range(1, 9))
    assert len({one.name for one in releases}) == 8


def test_archives_added_at_once_are_all_named_and_signed(tmp_path: Path, key: SecretKey) -> None:
    digest, ready = layers_of(DepotFolder(tmp_path)).env, Barrier(8)
    archives = [Archive(f"{number}" * 64, 1, "tar.gz", A) for number in range(8)]
    name = f"layers/{digest}.json"

    def add(archive: Archive) -> None:
        depot = DepotFolder(tmp_path)
        ready.wait()
        depot.add_archives("env", digest, archive)
        sign_document(depot, name, key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, archives))

    document = DepotFolder(tmp_path).document(digest)
    assert document is not None
    assert set(document.archives) == set(archives)
    assert not sign_document(DepotFolder(tmp_path), name, key)


def test_nothing_is_signed_or_made_where_no_depot_is(tmp_path: Path, key: SecretKey) -> None:
    with pytest.raises(NotThere, match="no such folder"):
        sign_document(DepotFolder(tmp_path / "typo"), f"layers/{A}.json", key)

    assert not (tmp_path / "typo").exists()


def test_a_document_that_grew_is_signed_again(tmp_path: Path, key: SecretKey) -> None:
    depot = DepotFolder(tmp_path / "depot")
    name = f"layers/{layers_of(depot).env}.json"

    assert sign_document(depot, name, key)
    assert not sign_document(depot, name, key)
    depot.put(name, b"{}")
    assert sign_document(depot, name, key)
