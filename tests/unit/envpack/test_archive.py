"""What is compressed and written as tar, for tar and for hosts."""

from __future__ import annotations

import gzip
import io
import random
import tarfile

import pytest

from envpack.node import members
from envpack.node.model import FileRecord, LinkRecord, Manifest
from envpack.pack.archive import Form, write_archive
from envpack.pack.compress import compressor
from envpack.pack.delta import missing

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize("form", ["tar.zst", "tar.gz"])
def test_neither_threads_nor_writes_show_in_what_is_compressed(form: str) -> None:
    chance = random.Random(7)
    data = b"".join(chance.randbytes(500) * 20 for _ in range(1200))  # 12 MB: several sections

    made = set()
    for threads, piece in ((1, 1 << 20), (3, 777_777), (2, len(data))):
        sink = io.BytesIO()
        with compressor(form, sink, threads=threads) as stream:
            for start in range(0, len(data), piece):
                stream.write(data[start : start + piece])
        made.add(sink.getvalue())

    assert len(made) == 1
    if form == "tar.gz":
        assert gzip.decompress(made.pop()) == data


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_gzip_of_any_length_can_be_read(size: int) -> None:
    sink = io.BytesIO()
    with compressor("tar.gz", sink) as stream:
        stream.write(bytes(size))

    assert gzip.decompress(sink.getvalue()) == bytes(size)


def record(path: str, data: bytes = b"") -> FileRecord:
    return FileRecord(path, A, len(data), 0o644)


def test_names_of_any_length_are_read_by_tar_and_by_the_host() -> None:
    paths = [
        "a/" + "n" * 98,
        "b" * 60 + "/" + "n" * 60,
        "c" * 300,
        "d/" + "é" * 80,
        "e/" * 120 + "n",
    ]
    links = [LinkRecord("f", "t" * 150), LinkRecord("g", "e")]
    raw = io.BytesIO()
    write_archive(
        raw, ((record(path, b"x"), [b"x"]) for path in paths), links, Form(format="tar.gz")
    )

    plain = gzip.decompress(raw.getvalue())
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        assert tar.getnames() == [*paths, "f", "g"]
        assert [one.linkname for one in tar if one.issym()] == ["t" * 150, "e"]
    found = [(one.path, one.target) for one in members.Archive(io.BytesIO(plain))]
    assert found == [*((path, "") for path in paths), ("f", "t" * 150), ("g", "e")]


def test_a_delta_holds_what_is_new_and_all_that_a_prefix_changes() -> None:
    old = Manifest(layer="env", files=(FileRecord("a", A, 1, 0o644),))
    new = Manifest(
        layer="env",
        files=(FileRecord("b", A, 1, 0o644), FileRecord("c", B, 1, 0o644)),
    )

    assert [one.path for one in missing(new, old)] == ["c"]
