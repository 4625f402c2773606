"""Manifests and releases cannot say what is impossible."""

from __future__ import annotations

import json

import pytest

from envpack.node.errors import InvalidManifest
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
    release = Release(counter=1, name="one", env=A, app=B, model=C, git_commit="0" * 40)

    assert len(release.digest) == 64
    with pytest.raises(InvalidManifest, match="counter"):
        Release(counter=0, name="none", env=A, app=B, model=C, git_commit="")
    with pytest.raises(InvalidManifest, match="app"):
        Release(counter=1, name="one", env=A, app="latest", model=C, git_commit="")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc", "../../x"])
def test_a_link_stays_inside_its_layer(target: str) -> None:
    with pytest.raises(InvalidManifest, match="out of the layer"):
        LinkRecord("lib/a", target)


def test_no_path_is_a_file_and_a_folder() -> None:
    with pytest.raises(InvalidManifest, match="a: a file and a folder"):
        Manifest(layer="env", files=(record("a"), record("a/b/c")))


def test_documents_survive_their_spelling() -> None:
    fixed = FileRecord("bin/x", A, 3, 0o755, Prefix("/opt/placeholder", "text"))
    manifest = Manifest(
        layer="env", files=(fixed,), links=(LinkRecord("bin/y", "x"),), facts={"python": "3.11"}
    )
    document = LayerDocument("env", A, (Archive(B, 10, "tar.zst"), Archive(C, 2, "tar.gz", base=B)))
    release = Release(
        counter=2, name="two", env=A, app=B, model=C, git_commit="", minimum_driver=""
    )

    for noun in (manifest, document, release):
        assert type(noun).from_json(json.loads(spelt(noun.as_json()))) == noun


def test_a_document_of_another_shape_is_refused() -> None:
    others: list[object] = [None, [], {}, {"schema": 1, "layer": "env", "files": 3}]
    for kind in (Manifest, LayerDocument, Release):
        for value in others:
            with pytest.raises(InvalidManifest, match="cannot be read"):
                kind.from_json(value)


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../out", "loop/..", "./here", "a//b", "", "a/../../.."]
)
def test_a_link_stays_inside_its_layer_whatever_it_passes_through(target: str) -> None:
    with pytest.raises(InvalidManifest, match="links out"):
        LinkRecord("lib/link", target)


def test_a_link_may_lead_up_to_the_layer() -> None:
    assert LinkRecord("a/b/link", "../../lib").target == "../../lib"


@pytest.mark.parametrize("kind", [Manifest, LayerDocument, Release])
def test_a_document_of_another_schema_is_named(
    kind: type[Manifest | LayerDocument | Release],
) -> None:
    with pytest.raises(InvalidManifest, match="schema"):
        kind.from_json({"schema": 2})
