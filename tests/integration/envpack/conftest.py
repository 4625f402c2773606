"""Conda prefixes, made once per session and offline (``tests.conda_prefix``)."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from envpack.pack.depot import DepotFolder
from envpack.pack.layers import Packed, pack_environment
from tests.conda_prefix import make_channel, make_prefix, pip_install, write_wheel
from tests.envpack_depot import unzstd

#: A package with all that pip leaves behind: a command, tests, a module of its own.
TOOL: Final[Mapping[str, bytes]] = {
    "demo_tool/__init__.py": b"def main():\n    import sys\n    print(sys.prefix)\n",
    "demo_tool/data.txt": b"data\n",
    "demo_tool/names.py": b"NAMES = frozenset({'red', 'green', 'blue', 'white', 'black'})\n",
    "demo_tool/tests/__init__.py": b"",
    "demo_tool/tests/test_tool.py": b"def test_nothing():\n    assert True\n",
}


@pytest.fixture(scope="session")
def conda_channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel folder with python, pip, demo-conf and demo-blob."""
    work = tmp_path_factory.mktemp("channel")
    return make_channel(work / "channel", work / "stage")


@pytest.fixture(scope="session")
def conda_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package cache of every prefix of this session: nobody writes to it by hand."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheelhouse")
    write_wheel(folder, "demo_tool", "1.0", TOOL, {"demo-tool": "demo_tool:main"})
    return folder


@pytest.fixture(scope="session")
def conda_prefix(
    conda_channel: Path,
    conda_cache: Path,
    wheelhouse: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The session's environment.  Read it; who wants to change one makes another."""
    prefix = make_prefix(conda_channel, tmp_path_factory.mktemp("env") / "prefix", conda_cache)
    pip_install(prefix, "--find-links", str(wheelhouse), "demo-tool")
    return prefix


@pytest.fixture
def prefix(conda_channel: Path, conda_cache: Path, wheelhouse: Path, tmp_path: Path) -> Path:
    """One that this test may change: what it shares with the cache is copied first."""
    prefix = make_prefix(conda_channel, tmp_path / "own" / "prefix", conda_cache)
    pip_install(prefix, "--find-links", str(wheelhouse), "demo-tool")
    return prefix


@pytest.fixture(scope="session")
def depot(tmp_path_factory: pytest.TempPathFactory) -> DepotFolder:
    return DepotFolder(tmp_path_factory.mktemp("depot"))


@pytest.fixture(scope="session")
def packed(conda_prefix: Path, depot: DepotFolder) -> Packed:
    return pack_environment(conda_prefix, depot)


@pytest.fixture(scope="session")
def tree(packed: Packed, depot: DepotFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, unpacked by nothing but tar: no prefix is fixed in it."""
    return unpacked(depot, packed, tmp_path_factory.mktemp("tree"))


def unpacked(depot: DepotFolder, packed: Packed, folder: Path) -> Path:
    assert packed.archive is not None
    plain = unzstd(depot.archive_path(packed.archive))
    subprocess.run(["tar", "--extract", "--file", "-", "-C", folder], input=plain, check=True)
    return folder
