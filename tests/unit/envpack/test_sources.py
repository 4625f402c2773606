"""What is read of a prefix, a wheel and a checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envpack.pack.elf import glibc_needed
from envpack.pack.errors import NotPackable, named
from envpack.pack.project import build_wheel, unpacked_wheel
from envpack.pack.rewrite import public_url
from envpack.pack.sources import Source


def test_a_file_that_changes_while_it_is_packed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    source = Source(path="x", content=path)

    with pytest.raises(NotPackable, match="changed while it was packed"):
        list(source.chunks(expected=4))


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


def test_a_long_list_of_files_is_cut() -> None:
    assert named([f"{n:02}" for n in range(30)]).endswith("07 and 22 more")
