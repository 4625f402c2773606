"""Parts of packing that need no environment."""

from __future__ import annotations

import gzip
import io
import json
import os
import py_compile
import random
import re
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Barrier

import pytest

from envpack.node import members, minisign
from envpack.node.errors import InvalidManifest, NotThere, NotTrusted, Unsuitable
from envpack.node.model import FileRecord, LinkRecord, Manifest, Release
from envpack.pack.archive import Form, write_archive
from envpack.pack.bytecode import Bytecode, make_bytecode
from envpack.pack.compress import compressor
from envpack.pack.delta import missing
from envpack.pack.depot import DepotFolder
from envpack.pack.elf import glibc_needed
from envpack.pack.errors import NotPackable, named
from envpack.pack.layers import pack_model
from envpack.pack.project import build_wheel, unpacked_wheel
from envpack.pack.release import Layers, Origin, make_release, sign_document
from envpack.pack.rewrite import public_url
from envpack.pack.sign import SecretKey, make_key, public_text
from envpack.pack.sources import Source

A, B = "a" * 64, "b" * 64
NOON = date(2026, 11, 22)


@pytest.fixture
def key(tmp_path: Path) -> SecretKey:
    return make_key(tmp_path / "secret.key", tmp_path / "public.pub")


def record(path: str, data: bytes = b"") -> FileRecord:
    return FileRecord(path, A, len(data), 0o644)


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


def test_a_signature_is_one_that_the_host_verifies(key: SecretKey) -> None:
    text = key.signature(b"document", "file:releases/a.json")

    signature = minisign.Signature.from_text(text)
    assert minisign.verify("it", b"document", signature, [key.public]) == "file:releases/a.json"
    with pytest.raises(NotTrusted):
        minisign.verify("it", b"other", signature, [key.public])


@pytest.mark.skipif(not shutil.which("minisign"), reason="minisign is not installed")
def test_minisign_reads_these_keys_and_verifies_these_signatures(
    key: SecretKey, tmp_path: Path
) -> None:
    (tmp_path / "ours").write_bytes(b"document")
    (tmp_path / "ours.minisig").write_text(key.signature(b"document", "of ours"))
    (tmp_path / "theirs").write_bytes(b"document")

    def run(*words: str) -> str:
        done = subprocess.run(
            ["minisign", *words], check=True, capture_output=True, text=True, cwd=tmp_path
        )
        return done.stdout

    assert "Trusted comment: of ours" in run("-V", "-m", "ours", "-p", "public.pub")
    run("-S", "-s", "secret.key", "-m", "theirs", "-t", "of theirs")
    theirs = minisign.Signature.from_text((tmp_path / "theirs.minisig").read_text())
    assert minisign.verify("it", b"document", theirs, [key.public]) == "of theirs"
    run("-G", "-W", "-p", "own.pub", "-s", "own.key")
    own = SecretKey.read(tmp_path / "own.key")
    assert public_text(own.public) == (tmp_path / "own.pub").read_text()


def test_a_secret_key_is_neither_replaced_nor_shared_nor_shown(
    key: SecretKey, tmp_path: Path
) -> None:
    with pytest.raises(Unsuitable, match="never replaced"):
        make_key(tmp_path / "secret.key", tmp_path / "other.pub")
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert key.seed.hex() not in repr(key)
    assert repr(key.seed) not in repr(key)
    (tmp_path / "secret.key").chmod(0o640)
    with pytest.raises(Unsuitable, match="others can read it"):
        SecretKey.read(tmp_path / "secret.key")


def test_a_secret_key_that_cannot_be_used_is_named_without_its_content(key: SecretKey) -> None:
    comment, line = key.as_text().splitlines()
    damaged = f"{comment}\n{line[:-8]}AAAAAAA=\n"

    for text in ("", "no key\n", damaged):
        with pytest.raises(InvalidManifest, match="secret key") as caught:
            SecretKey.from_text(text)
        assert line[60:80] not in str(caught.value)


def test_a_key_with_a_password_is_refused_with_the_way_out(key: SecretKey) -> None:
    comment, line = key.as_text().splitlines()
    encrypted = line.replace("RWQAAEIy", "RWRTY0Iy", 1)  # kdf "Sc" instead of none

    assert encrypted != line
    with pytest.raises(InvalidManifest, match="has a password"):
        SecretKey.from_text(f"{comment}\n{encrypted}\n")


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://conda.anaconda.org/conda-forge/linux-64/x-1.conda", None),
        ("https://me:secret@host/t/tk-123/chan/x.conda", "https://host/chan/x.conda"),
        ("https://host/t/tk-123/chan", "https://host/chan"),
        ("file:///home/me/channel/x.conda", ""),
        ("/home/me/channel", ""),
        ("conda-forge", None),
    ],
)
def test_a_url_travels_without_secrets_and_folders(url: str, public: str | None) -> None:
    assert public_url(url) == (url if public is None else public)


def test_glibc_is_what_readelf_finds() -> None:
    program = Path(sys.executable).resolve()
    if not shutil.which("readelf"):
        pytest.skip("readelf is not installed")
    said = subprocess.run(
        ["readelf", "-V", program], check=True, capture_output=True, text=True
    ).stdout
    needed = {
        tuple(int(part) for part in word.removeprefix("GLIBC_").split("."))
        for word in said.split()
        if word.startswith("GLIBC_2")
    }

    assert glibc_needed(program) == max(needed)


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" * 30])
def test_what_is_no_whole_elf_file_needs_no_glibc(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)

    assert glibc_needed(tmp_path / "x") == ()


def module(tmp_path: Path, name: str, text: str) -> Source:
    (tmp_path / name).write_text(text)
    return Source(path=f"lib/{name}", content=tmp_path / name)


#: Its bytecode depends on what the process that compiles it has seen before, if one lets it.
TELLING = """
SIGN = "{"
def f(x):
    if x in {"red", "green"}: return 1
def g(x):
    for y in x:
        if y.op not in {"red", "green"}: return 2
"""
#: An installer: it knows these words, and says so in the bytecode that it leaves.
INSTALLER = """
import py_compile, sys
from pathlib import Path
known = sys.intern("{"), compile(Path(sys.argv[1]).read_text(), "x", "exec")
py_compile.compile(sys.argv[1], cfile=sys.argv[2], dfile=sys.argv[3])
"""


@pytest.mark.parametrize("text", [TELLING, "VALUE = 1\n"])
@pytest.mark.parametrize("name", ["/build/env/lib/x.py", "lib/x.py"])
def test_bytecode_of_an_installer_is_brought_into_the_form_that_we_compile(
    tmp_path: Path, name: str, text: str
) -> None:
    source = module(tmp_path, "x.py", text)
    tag = sys.implementation.cache_tag
    left = tmp_path / "prefix" / "lib" / "__pycache__" / f"x.{tag}.pyc"
    left.parent.mkdir(parents=True)
    assert isinstance(source.content, Path)
    subprocess.run([sys.executable, "-c", INSTALLER, source.content, left, name], check=True)

    python = Path(sys.executable)
    compiled = last_of(make_bytecode(python, [source], tmp_path))
    taken_over = last_of(make_bytecode(python, [source], tmp_path, tmp_path / "prefix"))
    others = [module(tmp_path, "y.py", "red = green = 1\n")] * (os.cpu_count() or 1)
    assert taken_over == compiled
    assert last_of(make_bytecode(python, [*others, source], tmp_path)) == compiled
    assert name.encode() in left.read_bytes()
    assert b"/build/env" not in compiled
    assert str(tmp_path).encode() not in compiled


def last_of(made: Bytecode) -> bytes:
    return next(source.read() for source in made.files if "/x." in source.path)


@pytest.mark.parametrize("mode", list(py_compile.PycInvalidationMode))
def test_bytecode_of_another_source_is_not_taken_over(
    tmp_path: Path, mode: py_compile.PycInvalidationMode
) -> None:
    source = module(tmp_path, "x.py", "VALUE = 1\n")
    tag = sys.implementation.cache_tag
    left = tmp_path / "prefix" / "lib" / "__pycache__" / f"x.{tag}.pyc"
    left.parent.mkdir(parents=True)
    stale = module(tmp_path, "old.py", "VALUE = 'an older one'\n")
    assert isinstance(stale.content, Path)
    py_compile.compile(str(stale.content), cfile=str(left), invalidation_mode=mode)

    made = make_bytecode(Path(sys.executable), [source], tmp_path, tmp_path / "prefix")

    assert b"an older one" not in made.files[0].read()


def test_a_template_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    sources = [module(tmp_path, "good.py", "x = 1\n"), module(tmp_path, "bad.py", "{{ name }} =")]

    made = make_bytecode(Path(sys.executable), sources, tmp_path)

    assert made.refused == ("lib/bad.py",)
    assert len(made.files) == 1


def test_a_delta_holds_what_is_new_and_all_that_a_prefix_changes() -> None:
    old = Manifest(layer="env", files=(FileRecord("a", A, 1, 0o644),))
    new = Manifest(
        layer="env",
        files=(FileRecord("b", A, 1, 0o644), FileRecord("c", B, 1, 0o644)),
    )

    assert [one.path for one in missing(new, old)] == ["c"]


def test_a_part_that_nobody_writes_any_more_is_removed(tmp_path: Path) -> None:
    depot = DepotFolder(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / f"{2**22 + 1}-dead").touch()  # above the highest process id
    with depot.part() as part:
        DepotFolder(tmp_path)
        assert [path.name for path in (tmp_path / "parts").iterdir()] == [part.path.name]
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_manifest_that_was_changed_is_not_read(tmp_path: Path) -> None:
    depot = DepotFolder(tmp_path)
    digest = depot.put_manifest(Manifest(layer="env", files=()))
    (tmp_path / "manifests" / f"{digest}.json").write_text("{}")

    with pytest.raises(NotTrusted, match="holds something else"):
        depot.manifest(digest)
    with pytest.raises(NotThere):
        depot.manifest(B)


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


def test_a_document_that_grew_is_signed_again(tmp_path: Path, key: SecretKey) -> None:
    depot = DepotFolder(tmp_path / "depot")
    name = f"layers/{layers_of(depot).env}.json"

    assert sign_document(depot, name, key)
    assert not sign_document(depot, name, key)
    depot.put(name, b"{}")
    assert sign_document(depot, name, key)


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


def test_a_wheel_is_built_from_what_is_committed(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "tool").mkdir(parents=True)
    (project / "tool" / "__init__.py").write_text("X = 1\n")
    settings = (
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    )
    (project / "pyproject.toml").write_text(
        settings + '[project]\nname = "tool"\nversion = "1"\n[tool.setuptools]\npackages=["tool"]\n'
    )
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "one")):
        subprocess.run(["git", "-C", project, *words], check=True)
    (project / "tool" / "scratch.py").write_text("not committed\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    wheel = build_wheel(project, scratch)

    paths = {one.path for one in unpacked_wheel(wheel, tmp_path / "tree")}
    assert {"tool/__init__.py", "tool-1.dist-info/METADATA"} <= paths
    assert "tool/scratch.py" not in paths
    assert sorted(path.name for path in project.iterdir()) == [".git", "pyproject.toml", "tool"]


def test_a_file_that_is_no_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x-1-py3-none-any.whl").write_bytes(b"none")

    with pytest.raises(NotPackable, match="cannot be read as a wheel"):
        unpacked_wheel(tmp_path / "x-1-py3-none-any.whl", tmp_path / "tree")


def test_a_file_that_changes_while_it_is_packed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    source = Source(path="x", content=path)

    with pytest.raises(NotPackable, match="changed while it was packed"):
        list(source.chunks(expected=4))


def test_a_long_list_of_files_is_cut() -> None:
    assert named([f"{n:02}" for n in range(30)]).endswith("07 and 22 more")


def test_each_trap_of_the_manual_is_held_by_a_test_that_exists() -> None:
    root = Path(__file__).parents[3]
    tables = (root / "docs" / "envpack.md").read_text().split("### conda-pack's traps")[1]
    named_there = set(re.findall(r"`(test_\w+)`[¹²³⁴]", tables.split("\n## ")[0]))
    code = "".join(path.read_text() for path in (root / "tests").rglob("envpack/**/test_*.py"))

    assert len(named_there) > 20
    assert {name for name in named_there if f"def {name}(" not in code} == set()
