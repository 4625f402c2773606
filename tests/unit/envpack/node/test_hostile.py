"""Archives that were signed and still must not be written: none leaves a trace."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from envpack.node import depot as depots
from envpack.node.errors import HostileArchive
from envpack.node.host import Host
from envpack.node.minisign import PublicKey
from envpack.node.model import Archive
from envpack.node.trust import Trusted
from envpack.node.unpack import unpack
from tests.envpack_depot import SIGNER, Content, TestDepot, member, members_of, tar_of, zstd

GOOD = Content(
    files={
        "a.txt": (b"one\n", 0o644),
        "bin/run": (b"#!/bin/sh\n", 0o755),
        "lib/b.bin": (b"b" * 700, 0o644),
        "z.txt": (b"last\n", 0o644),
    },
    links={"lib/link": "b.bin"},
)
END = bytes(1024)


def honest() -> list[Any]:
    return members_of(GOOD)


def plus(name: str, content: bytes = b"", **fields: Any) -> bytes:  # noqa: ANN401
    """The honest archive and one member more."""
    return tar_of([*honest(), member(name, content, **fields)])


def instead(
    path: str,
    name: str | None = None,
    content: bytes | None = None,
    **fields: Any,  # noqa: ANN401
) -> bytes:
    """The honest archive with one member changed."""
    data = GOOD.files.get(path, (b"", 0o644))
    given = data[0] if content is None else content
    changed = member(name or path, given, **{"mode": data[1], **fields})
    return tar_of([changed if one[0].name == path else one for one in honest()])


def header(name: bytes, size: bytes, kind: bytes = b"0", **parts: bytes) -> bytes:
    """A ustar header byte for byte, its sum right."""
    fields = {
        "mode": b"0000644\0",
        "magic": b"ustar\x0000",
        "link": b"",
        "folder": b"",
        **parts,
    }
    block = bytearray(512)
    places = {"mode": 100, "link": 157, "magic": 257, "folder": 345}
    block[0 : len(name)], block[124 : 124 + len(size)] = name, size
    for key, at in places.items():
        block[at : at + len(fields[key])] = fields[key]
    block[108:124] = b"0000000\x000000000\0"
    block[136:148] = b"00000000000\0"
    block[148:156], block[156:157] = b" " * 8, kind
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def raw(name: bytes, content: bytes, size: bytes | None = None, **parts: bytes) -> bytes:
    return header(name, size or f"{len(content):011o}\0".encode(), **parts) + padded(content)


def pax(**records: str) -> bytes:
    lines = b"".join(_pax_line(key, value.encode()) for key, value in records.items())
    return raw(b"pax", lines, kind=b"x")


def _pax_line(key: str, value: bytes) -> bytes:
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest) + 2))
    return str(length).encode() + rest


def before_end(extra: bytes) -> bytes:
    """The honest archive with raw bytes behind its members."""
    whole = tar_of(honest())
    last = whole.rstrip(b"\0")
    return padded(last) + extra + END


def without_first() -> bytes:
    return tar_of([one for one in honest() if one[0].name != "a.txt"])


def a_txt(first: bytes) -> bytes:
    """``first`` where ``a.txt`` stands in the honest archive."""
    rest = tar_of([one for one in honest() if one[0].name != "a.txt"])
    return first + rest


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a file above the tree": lambda: plus("../evil", b"x"),
    "a file above, by a detour": lambda: plus("lib/../../evil", b"x"),
    "an absolute file": lambda: plus("/tmp/evil", b"x"),
    "an honest file by an absolute name": lambda: instead("a.txt", "/a.txt"),
    "an honest file by a dotted name": lambda: instead("a.txt", "./a.txt"),
    "an honest file by a doubled slash": lambda: instead("lib/b.bin", "lib//b.bin"),
    "an extra file": lambda: plus("extra.txt", b"x"),
    "an extra file of no bytes": lambda: plus("lib/extra"),
    "an extra file below a link": lambda: plus("lib/link/evil", b"x"),
    "a file twice": lambda: plus("a.txt", b"one\n"),
    "a file twice, other the second time": lambda: plus("a.txt", b"two\n"),
    "a missing file": without_first,
    "a missing link": lambda: tar_of([one for one in honest() if one[0].name != "lib/link"]),
    "nothing at all": lambda: tar_of([]),
    "other bytes": lambda: instead("a.txt", content=b"two\n"),
    "other bytes in the last file": lambda: instead("z.txt", content=b"lost\n"),
    "a byte more": lambda: instead("a.txt", content=b"one\n\n"),
    "a byte less": lambda: instead("a.txt", content=b"one"),
    "set-uid": lambda: instead("bin/run", mode=0o4755),
    "set-gid": lambda: instead("bin/run", mode=0o2755),
    "sticky": lambda: instead("bin/run", mode=0o1755),
    "writable by all": lambda: instead("a.txt", mode=0o666),
    "not executable any more": lambda: instead("bin/run", mode=0o644),
    "a link out of the tree": lambda: plus("out", type=tarfile.SYMTYPE, linkname="../../etc"),
    "an absolute link": lambda: plus("out", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "the honest link, leading elsewhere": lambda: instead(
        "lib/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"
    ),
    "the honest link twice": lambda: plus("lib/link", type=tarfile.SYMTYPE, linkname="b.bin"),
    "a link where a file is expected": lambda: instead(
        "a.txt", content=b"", type=tarfile.SYMTYPE, linkname="z.txt"
    ),
    "a link where a folder is expected": lambda: tar_of(
        [member("lib", type=tarfile.SYMTYPE, linkname="/tmp"), *honest()]
    ),
    "a file where a link is expected": lambda: instead("lib/link", content=b"b" * 700),
    "a link that holds bytes": lambda: before_end(
        raw(b"lib/link", b"hidden", kind=b"2", link=b"b.bin")
    ),
    "a hard link": lambda: plus("hard", type=tarfile.LNKTYPE, linkname="a.txt"),
    "a hard link to the host's files": lambda: plus(
        "hard", type=tarfile.LNKTYPE, linkname="/etc/passwd"
    ),
    "a file by a hard link": lambda: instead(
        "a.txt", content=b"", type=tarfile.LNKTYPE, linkname="z.txt"
    ),
    "a character device": lambda: plus("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "a block device": lambda: plus("disk", type=tarfile.BLKTYPE, devmajor=8),
    "a pipe": lambda: plus("pipe", type=tarfile.FIFOTYPE),
    "a folder": lambda: plus("lib", type=tarfile.DIRTYPE, mode=0o755),
    "a folder open to all": lambda: plus("share", type=tarfile.DIRTYPE, mode=0o777),
    "a contiguous file": lambda: instead("a.txt", type=tarfile.CONTTYPE),
    "a type that nobody knows": lambda: instead("a.txt", type=b"Z"),
    "a long name of GNU tar": lambda: tar_of(
        [*honest(), member("n" * 150, b"x")], tarfile.GNU_FORMAT
    ),
    "GNU tar's own headers": lambda: tar_of(honest(), tarfile.GNU_FORMAT),
    "a sparse file of GNU tar": lambda: instead("a.txt", type=tarfile.GNUTYPE_SPARSE),
    "a sparse file of pax": lambda: a_txt(
        pax(**{"GNU.sparse.major": "1", "GNU.sparse.name": "a.txt"}) + raw(b"a.txt", b"one\n")
    ),
    "a pax name that leads out": lambda: before_end(pax(path="../evil") + raw(b"ok", b"x")),
    "a pax name twice": lambda: a_txt(
        raw(b"pax", _pax_line("path", b"../evil") + _pax_line("path", b"a.txt"), kind=b"x")
        + raw(b"a.txt", b"one\n")
    ),
    "a pax name with a NUL": lambda: before_end(pax(path="a\0b") + raw(b"ok", b"x")),
    "a pax name that is not UTF-8": lambda: before_end(
        raw(b"pax", _pax_line("path", b"\xff\xfe"), kind=b"x") + raw(b"ok", b"x")
    ),
    "a pax size beside the bytes": lambda: a_txt(pax(size="3") + raw(b"a.txt", b"one\n")),
    "a pax size below zero": lambda: a_txt(pax(size="-4") + raw(b"a.txt", b"one\n")),
    "a pax owner": lambda: a_txt(pax(uid="0") + raw(b"a.txt", b"one\n")),
    "a pax time": lambda: a_txt(pax(mtime="1.5") + raw(b"a.txt", b"one\n")),
    "a pax record longer than its header": lambda: a_txt(
        raw(b"pax", b"999 path=x\n", kind=b"x") + raw(b"a.txt", b"one\n")
    ),
    "a pax record of length zero": lambda: a_txt(
        raw(b"pax", b"0 path=x\n", kind=b"x") + raw(b"a.txt", b"one\n")
    ),
    "a pax header of a gigabyte": lambda: a_txt(header(b"pax", b"10000000000\0", b"x")),
    "a pax header behind a pax header": lambda: a_txt(
        pax(path="a.txt") + pax(path="a.txt") + raw(b"a.txt", b"one\n")
    ),
    "a global pax header": lambda: a_txt(
        raw(b"pax", _pax_line("path", b"evil"), kind=b"g") + raw(b"a.txt", b"one\n")
    ),
    "a size in base 256": lambda: a_txt(
        raw(b"a.txt", b"one\n", size=b"\x80" + bytes(10) + b"\x04")
    ),
    "a size below zero": lambda: a_txt(raw(b"a.txt", b"one\n", size=b"-0000000004\0")),
    "a size of letters": lambda: a_txt(raw(b"a.txt", b"one\n", size=b"zzzzzzzzzzz\0")),
    "a size far beyond the archive": lambda: a_txt(raw(b"a.txt", b"one\n", size=b"77777777777\0")),
    "a header whose sum is wrong": lambda: tar_of(honest()).replace(b"a.txt", b"b.txt", 1),
    "no ustar header": lambda: a_txt(raw(b"a.txt", b"one\n", magic=bytes(8))),
    "a name that is not UTF-8": lambda: before_end(raw(b"\xff\xfe", b"x")),
    "a folder in the header's second field": lambda: before_end(
        raw(b"evil", b"x", folder=b"../..")
    ),
    "a file that links": lambda: a_txt(raw(b"a.txt", b"one\n", link=b"z.txt")),
    "cut off in a member": lambda: tar_of(honest())[:700],
    "cut off in a header": lambda: tar_of(honest())[:100],
    "cut off before the end": lambda: tar_of(honest()).rstrip(b"\0"),
    "no end": lambda: padded(tar_of(honest()).rstrip(b"\0")),
    "one block of end": lambda: padded(tar_of(honest()).rstrip(b"\0")) + bytes(512),
    "bytes behind the end": lambda: tar_of(honest()) + b"evil" * 128,
    "an archive behind the end": lambda: tar_of(honest()) + plus("evil", b"x"),
    "a bomb behind the end": lambda: tar_of(honest()) + bytes(64 << 20),
    "a bomb in a member": lambda: instead("a.txt", content=bytes(64 << 20)),
}


@pytest.fixture
def scene(tmp_path: Path) -> tuple[TestDepot, Host]:
    return TestDepot(tmp_path / "depot"), Host(tmp_path / "root")


def unpacked(scene: tuple[TestDepot, Host], archive: Archive) -> None:
    depot, host = scene
    release = depot.release(env=depot.layer("env", GOOD, [archive]))
    trusted = Trusted(depots.depot(str(depot.folder)), [PublicKey.from_text(SIGNER.public)])
    unpack(host, trusted, release)


def leftovers(host: Host) -> set[str]:
    """Names below the root, but for manifests, which are documents and not members."""
    return {path.name for path in host.root.rglob("*") if path.suffix != ".json"}


def test_the_honest_archive_is_written(scene: tuple[TestDepot, Host]) -> None:
    unpacked(scene, scene[0].archive(tar_of(honest())))
    unpacked(
        (scene[0], Host(scene[1].root / "other")), scene[0].archive(a_txt(raw(b"a.txt", b"one\n")))
    )
    unpacked(
        (scene[0], Host(scene[1].root / "third")),
        scene[0].archive(a_txt(pax(path="a.txt") + raw(b"x", b"one\n"))),
    )


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(
    scene: tuple[TestDepot, Host], what: str, tmp_path: Path
) -> None:
    before = Path("/tmp/evil").exists()

    with pytest.raises(HostileArchive):
        unpacked(scene, scene[0].archive(HOSTILE[what]()))

    assert leftovers(scene[1]) <= {"env", "lock"}
    assert {path.name for path in tmp_path.iterdir()} == {"depot", "root"}
    assert Path("/tmp/evil").exists() == before


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 40


def signed_as_it_is(depot: TestDepot, content: bytes, form: str) -> Archive:
    archive = Archive(sha256(content).hexdigest(), len(content), form)
    depot.put(f"archives/{archive.name}", content)
    return archive


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("tar.gz", gzip.compress(tar_of(honest()))[:-9]),
        ("tar.gz", gzip.compress(tar_of(honest()))[:-4] + b"\0\0\0\0"),
        ("tar.gz", b"no gzip at all"),
        ("tar.zst", zstd(tar_of(honest()))[:-5]),
        ("tar.zst", b"no zstd at all"),
        ("tar.zst", zstd(tar_of(honest())) + b"rubbish behind"),
        ("tar.gz", zstd(tar_of(honest()))),
    ],
)
def test_what_does_not_decompress_to_its_end_is_refused(
    scene: tuple[TestDepot, Host], form: str, content: bytes
) -> None:
    with pytest.raises(HostileArchive):
        unpacked(scene, signed_as_it_is(scene[0], content, form))

    assert leftovers(scene[1]) <= {"env", "lock"}


def test_a_folder_that_was_made_a_link_meanwhile_is_not_written_through(
    scene: tuple[TestDepot, Host], tmp_path: Path
) -> None:
    depot, host = scene
    outside = tmp_path / "root" / "outside"
    digest = GOOD.manifest("env").digest
    outside.mkdir(parents=True)
    host.layer("env", digest).parent.mkdir(parents=True)
    host.layer("env", digest).symlink_to(outside)

    unpacked(scene, depot.archive(tar_of(honest())))

    assert list(outside.iterdir()) == []
    assert not host.layer("env", digest).is_symlink()
