"""Nothing names where it was built: no text, bytes, scripts, bytecode, nor conda's documents."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envpack.node.model import Prefix
from envpack.pack.collect import collect
from envpack.pack.depot import DepotFolder
from envpack.pack.errors import NotPackable
from envpack.pack.layers import Packed, Rules, pack_environment
from envpack.pack.survey import PLACEHOLDER, Allowed
from tests.conda_prefix import (
    SITE_PACKAGES,
    make_prefix,
)
from tests.integration.envpack.conftest import unpacked

TAG = f"cpython-{sys.version_info.major}{sys.version_info.minor}"


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


def test_conda_meta_names_packages_and_no_folder_of_the_build(tree: Path) -> None:
    documents = [json.loads(path.read_text()) for path in (tree / "conda-meta").glob("*.json")]

    assert {one["name"] for one in documents} == {"python", "pip", "demo-conf", "demo-blob"}
    assert all(len(one["sha256"]) == 64 for one in documents)
    assert {one["url"] + one["channel"] for one in documents} == {""}
    assert not re.search("link|cache|/tmp", json.dumps(documents[0]).split('"files"')[0])
    assert (tree / "conda-meta" / "history").read_bytes() == b""


def test_a_build_folder_too_short_to_be_told_apart_is_refused() -> None:
    with pytest.raises(NotPackable, match="too short"):
        collect(Path("/env"))
