"""Environments are packed truthfully: the same bytes each time, nothing of where they were made."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from envpack.node.errors import InvalidManifest
from envpack.node.model import Manifest, Prefix
from envpack.pack.archive import Form
from envpack.pack.collect import collect
from envpack.pack.depot import DepotFolder
from envpack.pack.errors import NotPackable
from envpack.pack.exclude import RULES, without_ballast
from envpack.pack.inventory import RECORD
from envpack.pack.layers import Packed, Rules, pack_environment
from envpack.pack.survey import PLACEHOLDER, Allowed
from tests.conda_prefix import (
    PYTHON,
    SITE_PACKAGES,
    make_prefix,
    pip_install,
    write_wheel,
)

TAG = f"cpython-{sys.version_info.major}{sys.version_info.minor}"


@pytest.fixture(scope="module")
def depot(tmp_path_factory: pytest.TempPathFactory) -> DepotFolder:
    return DepotFolder(tmp_path_factory.mktemp("depot"))


@pytest.fixture(scope="module")
def packed(conda_prefix: Path, depot: DepotFolder) -> Packed:
    return pack_environment(conda_prefix, depot)


@pytest.fixture(scope="module")
def tree(packed: Packed, depot: DepotFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, unpacked by nothing but tar: no prefix is fixed in it."""
    return unpacked(depot, packed, tmp_path_factory.mktemp("tree"))


@pytest.fixture
def prefix(conda_channel: Path, conda_cache: Path, wheelhouse: Path, tmp_path: Path) -> Path:
    """One that this test may change: what it shares with the cache is copied first."""
    prefix = make_prefix(conda_channel, tmp_path / "own" / "prefix", conda_cache)
    pip_install(prefix, "--find-links", str(wheelhouse), "demo-tool")
    return prefix


def unpacked(depot: DepotFolder, packed: Packed, folder: Path) -> Path:
    assert packed.archive is not None
    archive = depot.archive_path(packed.archive)
    subprocess.run(["tar", "--extract", "--file", archive, "-C", folder], check=True)
    return folder


def record_of(manifest: Manifest, path: str) -> str:
    return next(record.sha256 for record in manifest.files if record.path == path)


def edit(path: Path, data: bytes) -> None:
    """As an editor does: in a new file, so that the package cache keeps its own."""
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(data)
    path.chmod(mode)


def tar_members(depot: DepotFolder, packed: Packed) -> Iterator[tarfile.TarInfo]:
    assert packed.archive is not None
    plain = subprocess.run(
        ["zstd", "-dc", depot.archive_path(packed.archive)], check=True, capture_output=True
    ).stdout
    path = depot.folder / "plain.tar"
    path.write_bytes(plain)
    with tarfile.open(path) as tar:
        yield from tar


def test_the_interpreter_of_the_fixture_maps_nothing_of_the_original(conda_prefix: Path) -> None:
    code = "import ssl, sqlite3, ctypes; print(open('/proc/self/maps').read())"
    mapped = subprocess.run(
        [conda_prefix / "bin" / "python", "-B", "-c", code],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert str(conda_prefix) in mapped
    assert sys.base_prefix not in mapped


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
    of_zstd = subprocess.run(
        ["zstd", "-dc", depot.archive_path(packed.archive)], check=True, capture_output=True
    ).stdout
    assert sha256(plain).digest() == sha256(of_zstd).digest()


def test_members_are_sorted_owned_by_nobody_and_of_two_modes(
    depot: DepotFolder, packed: Packed
) -> None:
    members = list(tar_members(depot, packed))

    assert [one.name for one in members] == sorted(one.name for one in members)
    assert {(one.uid, one.gid, one.mtime, one.uname) for one in members} == {(0, 0, 0, "")}
    assert {one.mode for one in members} == {0o644, 0o755}
    assert {one.type for one in members} == {tarfile.REGTYPE, tarfile.SYMTYPE}


def test_the_folder_of_the_build_stands_nowhere(tree: Path, conda_prefix: Path) -> None:
    needles = [str(conda_prefix).encode(), str(conda_prefix.parent).encode()]
    naming = [
        path
        for path in tree.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]

    assert naming == []


def test_bytes_that_name_the_build_are_refused(prefix: Path, tmp_path: Path) -> None:
    compiled = prefix / SITE_PACKAGES / "demo_tool" / "native.so"
    compiled.write_bytes(b"\x7fELF\0" + str(prefix).encode() + b"/lib\0\xff")

    with pytest.raises(NotPackable, match=r"demo_tool/native\.so.*--allow-leak"):
        pack_environment(prefix, DepotFolder(tmp_path / "depot"))

    looked_at = Rules(allowed=[Allowed(pattern="*/native.so", reason="a debug path, never read")])
    pack_environment(prefix, DepotFolder(tmp_path / "depot"), rules=looked_at)


def test_text_that_names_the_build_gets_a_placeholder(
    conda_channel: Path, conda_cache: Path, tmp_path: Path
) -> None:
    prefix = make_prefix(conda_channel, tmp_path / "env", conda_cache)
    (prefix / "etc" / "own.ini").write_text(f"home={prefix}/x other={prefix}ironment\n")

    packed = pack_environment(prefix, DepotFolder(tmp_path / "depot"))

    tree = unpacked(DepotFolder(tmp_path / "depot"), packed, tmp_path)
    text = (tree / "etc" / "own.ini").read_text()
    assert text == f"home={PLACEHOLDER}/x other={prefix}ironment\n"
    record = next(one for one in packed.manifest.files if one.path == "etc/own.ini")
    assert record.prefix is not None
    assert (record.prefix.mode, record.prefix.placeholder) == ("text", PLACEHOLDER)


def test_conda_s_placeholders_are_handed_on(packed: Packed) -> None:
    modes = {one.path: one.prefix.mode for one in packed.manifest.files if one.prefix}

    assert modes["share/demo.bin"] == "binary"
    assert modes["etc/demo.conf"] == "text"
    assert all(len(one.prefix.placeholder) == 255 for one in packed.manifest.files if one.prefix)


@pytest.mark.parametrize("script", ["demo-conf", "demo-tool", "pip"])
def test_a_script_starts_the_python_beside_it(tree: Path, script: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a folder with blanks" / "env"
    shutil.copytree(tree, elsewhere, symlinks=True)

    said = subprocess.run(
        [elsewhere / "bin" / script, "--version"],
        check=True,
        capture_output=True,
        text=True,
        env={},
    ).stdout

    assert str(elsewhere) in said


def test_each_module_has_bytecode_that_is_never_checked_again(tree: Path) -> None:
    code = (tree / SITE_PACKAGES / "demo_tool" / "__pycache__" / f"names.{TAG}.pyc").read_bytes()
    modules = {
        path
        for path in (tree / SITE_PACKAGES).rglob("*.py")
        if not (path.parent / "__pycache__" / f"{path.stem}.{TAG}.pyc").is_file()
    }

    assert int.from_bytes(code[4:8], "little") == 1  # hash, unchecked
    assert modules == set()


def test_a_traceback_names_the_host_s_files(tree: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "env"
    shutil.copytree(tree, elsewhere, symlinks=True)
    code = "import demo_tool; print(demo_tool.main.__code__.co_filename)"

    said = subprocess.run(
        [elsewhere / "bin" / "python", "-B", "-c", code], check=True, capture_output=True, text=True
    ).stdout

    assert said.strip() == str(elsewhere / SITE_PACKAGES / "demo_tool" / "__init__.py")


def test_what_is_left_out_is_told_with_its_reason(packed: Packed) -> None:
    savings = {saving.rule: saving for saving in packed.savings}
    paths = {record.path for record in packed.manifest.files}

    assert savings["tests"].files >= 2
    assert savings["installers"].bytes > 1_000_000
    assert all(saving.reason for saving in packed.savings)
    assert f"{SITE_PACKAGES}/demo_tool/tests/test_tool.py" not in paths
    assert f"{SITE_PACKAGES}/demo_tool/data.txt" in paths


def test_a_rule_can_be_set_aside_by_name(conda_prefix: Path) -> None:
    collected = collect(conda_prefix)
    path = f"{SITE_PACKAGES}/demo_tool/tests/test_tool.py"

    assert path in {one.path for one in without_ballast(collected.files, (), ["tests"]).files}
    with pytest.raises(NotPackable, match=r"no rule to set aside: bytecode.*tests"):
        without_ballast(collected.files, (), ["bytecode"])


def test_record_tells_of_what_is_packed(tree: Path) -> None:
    (record,) = (tree / SITE_PACKAGES).glob("demo_tool-*.dist-info/RECORD")
    rows = {line.split(",")[0]: line.split(",")[1:] for line in record.read_text().splitlines()}

    assert "../../../bin/demo-tool" in rows
    assert not any("tests/" in path or path.endswith(".pyc") for path in rows)
    for path, (digest, size) in rows.items():
        if digest:
            data = (tree / SITE_PACKAGES / path).read_bytes()
            assert len(data) == int(size)
            assert digest.startswith("sha256=")


def test_conda_meta_names_packages_and_no_folder_of_the_build(tree: Path) -> None:
    documents = [json.loads(path.read_text()) for path in (tree / "conda-meta").glob("*.json")]

    assert {one["name"] for one in documents} == {"python", "pip", "demo-conf", "demo-blob"}
    assert all(len(one["sha256"]) == 64 for one in documents)
    assert {one["url"] + one["channel"] for one in documents} == {""}
    assert not re.search("link|cache|/tmp", json.dumps(documents[0]).split('"files"')[0])
    assert (tree / "conda-meta" / "history").read_bytes() == b""


def test_a_module_that_names_the_build_runs_as_the_host_has_it(
    prefix: Path, tmp_path: Path
) -> None:
    module = f"{SITE_PACKAGES}/demo_tool/where.py"
    (prefix / module).write_text(f"HERE = {str(prefix)!r}\n")
    record = next((prefix / SITE_PACKAGES).glob("demo_tool-*.dist-info")) / "RECORD"
    record.write_text(f"{record.read_text()}demo_tool/where.py,,\n")

    packed = pack_environment(prefix, DepotFolder(tmp_path / "depot"))

    kept = {one.path: one.prefix for one in packed.manifest.files if "/where." in one.path}
    assert kept == {module: Prefix(PLACEHOLDER, "text")}, "its bytecode would name the build"


def test_facts_tell_what_a_host_must_have(packed: Packed) -> None:
    facts = packed.manifest.facts

    assert facts["platform"] == "linux-64"
    assert facts["python"].startswith(PYTHON.removeprefix("python"))
    assert tuple(map(int, facts["glibc"].split("."))) >= (2, 2)
    assert facts["cuda"] == facts["minimum_driver"] == ""
    assert {"kind": "pypi", "name": "demo-tool", "version": "1.0"} in facts["packages"]


@pytest.fixture
def torch(prefix: Path, tmp_path: Path) -> Path:
    """A prefix with a torch of four lines, for CUDA 12.8: what is read of it are its version and
    its architectures.
    """
    wheels = tmp_path / "wheels"
    version = b"from typing import Optional\ncuda: Optional[str] = '12.8'\n"
    body = b"class _C:\n    _cuda_getArchFlags = staticmethod(lambda: 'sm_80 sm_90')\n"
    files = {"torch/__init__.py": body, "torch/version.py": version}
    write_wheel(wheels, "torch", "2.99", files)
    pip_install(prefix, "--find-links", str(wheels), "torch")
    return prefix


def built_from(prefix: Path, **spec: str | None) -> None:
    """As ``build`` notes it."""
    record = prefix / RECORD
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"spec": {"name": "demo", "variant": "v", **spec}}))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"cuda": None}, "variant v: asks for the CPU, and torch is built for CUDA 12.8"),
        ({"cuda": "13.0"}, "asks for CUDA 13.0, and torch is built for CUDA 12.8"),
        ({"cuda": "12.8", "minimum_driver": "470.1"}, "470.1 does not start CUDA 12.8"),
    ],
)
def test_another_torch_than_the_spec_says_is_not_packed(
    torch: Path, tmp_path: Path, spec: dict[str, str | None], said: str
) -> None:
    built_from(torch, **spec)

    with pytest.raises(NotPackable, match=said):
        pack_environment(torch, DepotFolder(tmp_path / "depot"))


def test_a_spec_may_ask_for_a_newer_driver_than_the_toolkit(torch: Path, tmp_path: Path) -> None:
    built_from(torch, cuda="12.8", minimum_driver="550.54.14")

    packed = pack_environment(torch, DepotFolder(tmp_path / "depot"))

    assert packed.manifest.facts["minimum_driver"] == "550.54.14"


def test_a_build_of_torch_for_cuda_names_its_driver(torch: Path, tmp_path: Path) -> None:
    facts = pack_environment(torch, DepotFolder(tmp_path / "depot")).manifest.facts

    assert facts["cuda"] == "12.8"
    assert facts["minimum_driver"] == "525.60.13"
    assert facts["recommended_driver"] == "570.26"
    assert facts["architectures"] == ["sm_80", "sm_90"]
    assert facts["imports"] == ["torch"]


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


def test_a_build_folder_too_short_to_be_told_apart_is_refused() -> None:
    with pytest.raises(NotPackable, match="too short"):
        collect(Path("/env"))


def test_rules_match_nothing_of_licences() -> None:
    licence = f"{SITE_PACKAGES}/torch-2.dist-info/licenses/third_party/x/tests/LICENSE"

    assert [rule.name for rule in RULES if rule.pattern.match(licence)] == []
    assert [rule.name for rule in RULES if rule.pattern.match("share/doc/x/COPYING")] == []


def test_a_level_beyond_what_small_hosts_read_is_refused(
    conda_prefix: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotPackable, match="1 to 15, got 19"):
        pack_environment(conda_prefix, DepotFolder(tmp_path), Form(level=19))


def test_a_manifest_cannot_be_two_kinds_of_layer(packed: Packed) -> None:
    with pytest.raises(InvalidManifest):
        replace(packed.manifest, layer="none")
