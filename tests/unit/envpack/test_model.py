"""Manifests and releases cannot say what is impossible."""

from __future__ import annotations

import pytest

from envpack.errors import InvalidManifest
from envpack.model import FileRecord, Manifest, Release

A, B, C = "a" * 64, "b" * 64, "c" * 64


def record(path: str, mode: int = 0o644) -> FileRecord:
    return FileRecord(path=path, sha256=A, size=1, mode=mode)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/"])
def test_a_path_stays_inside_its_layer(path: str) -> None:
    with pytest.raises(InvalidManifest, match="path"):
        record(path)


def test_no_set_uid_bit_travels() -> None:
    with pytest.raises(InvalidManifest, match="mode"):
        record("bin/sh", mode=0o4755)


def test_files_are_sorted_and_named_once() -> None:
    for files in ((record("b"), record("a")), (record("a"), record("a"))):
        with pytest.raises(InvalidManifest, match="sorted"):
            Manifest(layer="env", files=files)


def test_a_manifest_is_named_by_what_it_holds() -> None:
    one, same = (Manifest(layer="env", files=(record("a"),)) for _ in range(2))
    other = Manifest(layer="env", files=(record("a", mode=0o755),))

    assert one.digest == same.digest
    assert one.digest != other.digest


def test_a_release_names_three_digests_and_a_counter_from_one() -> None:
    release = Release(counter=1, env=A, app=B, model=C, git_commit="0" * 40)

    assert len(release.digest) == 64
    with pytest.raises(InvalidManifest, match="counter"):
        Release(counter=0, env=A, app=B, model=C, git_commit="")
    with pytest.raises(InvalidManifest, match="app"):
        Release(counter=1, env=A, app="latest", model=C, git_commit="")
