"""What conda-pack does in silence is done aloud, or not at all: see docs/envpack.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from zstandard import get_frame_parameters

from envpack.pack.archive import Form
from envpack.pack.collect import collect
from envpack.pack.depot import DepotFolder
from envpack.pack.errors import NotPackable
from envpack.pack.layers import pack_environment
from tests.conda_prefix import SITE_PACKAGES, make_prefix, pip_install, write_wheel

MB = 1_000_000
PACK = """
import sys
from pathlib import Path
from envpack.pack.archive import Form
from envpack.pack.depot import DepotFolder
from envpack.pack.layers import pack_environment
from envpack.pack.packing import peak_memory

pack_environment(Path(sys.argv[1]), DepotFolder(Path(sys.argv[2])), Form(threads=4))
print(peak_memory())
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A package cache of this test's own."""
    return tmp_path / "cache"


@pytest.fixture
def prefix(conda_channel: Path, cache: Path, tmp_path: Path) -> Path:
    return make_prefix(conda_channel, tmp_path / "own" / "prefix", cache)


@pytest.fixture
def depot(tmp_path: Path) -> DepotFolder:
    return DepotFolder(tmp_path / "depot")


def edit(path: Path, data: bytes) -> None:
    """As an editor does: in a new file, so that the package cache keeps its own."""
    path.unlink()
    path.write_bytes(data)


def test_a_package_cache_that_is_gone_is_an_error(prefix: Path, cache: Path) -> None:
    shutil.rmtree(cache)

    with pytest.raises(NotPackable, match=r"without entries in the package cache.*demo-blob"):
        collect(prefix)


def test_a_damaged_package_cache_is_refused(prefix: Path, cache: Path, depot: DepotFolder) -> None:
    (blob,) = cache.glob("demo-blob-*/share/demo.bin")
    damaged = bytearray(blob.read_bytes())
    damaged[-1] ^= 1
    blob.write_bytes(damaged)

    with pytest.raises(NotPackable, match=r"not hold what was published, of share/demo\.bin"):
        pack_environment(prefix, depot)


def test_a_file_changed_in_place_is_refused(prefix: Path) -> None:
    edit(prefix / SITE_PACKAGES / "pip" / "__main__.py", b"print('patched')\n")

    with pytest.raises(NotPackable, match=r"changed after conda linked.*pip/__main__\.py"):
        collect(prefix)


def test_a_file_changed_through_a_hard_link_is_refused(prefix: Path, depot: DepotFolder) -> None:
    """It is the cache's file as well: both are changed."""
    (prefix / SITE_PACKAGES / "pip" / "__main__.py").write_text("print('patched')\n")

    with pytest.raises(NotPackable, match=r"changed or damaged|changed after conda linked"):
        pack_environment(prefix, depot)


def test_a_file_that_became_a_link_is_refused(prefix: Path) -> None:
    conf = prefix / "etc" / "demo.conf"
    conf.unlink()
    conf.symlink_to("other.conf")

    with pytest.raises(NotPackable, match=r"etc/demo\.conf"):
        collect(prefix)


def test_missing_files_of_a_package_are_refused_by_name(prefix: Path) -> None:
    (prefix / "share" / "demo.bin").unlink()

    with pytest.raises(NotPackable, match=r"deleted/overwritten.*demo-blob 1\.0.*share/demo\.bin"):
        collect(prefix)


def test_a_package_that_pip_replaced_is_refused(prefix: Path, tmp_path: Path) -> None:
    files = {"pip/__init__.py": b"__version__ = '99'\n"}
    wheel = write_wheel(tmp_path / "wheels", "pip", "99.0", files)
    pip_install(prefix, "--upgrade", str(wheel))

    with pytest.raises(NotPackable, match=r"deleted/overwritten.*- pip"):
        collect(prefix)


def test_an_editable_install_is_refused(prefix: Path) -> None:
    info = prefix / SITE_PACKAGES / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    url = '{"url": "file:///home/me/mine", "dir_info": {"editable": true}}'
    (info / "direct_url.json").write_text(url)

    with pytest.raises(NotPackable, match=r"editable packages.*- mine"):
        collect(prefix)


def test_a_folder_that_is_no_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotPackable, match="not a conda environment"):
        collect(tmp_path)


def test_an_absolute_link_inside_becomes_relative(prefix: Path) -> None:
    (prefix / "etc" / "absolute").symlink_to(prefix / "share" / "demo.bin")

    links = {link.path: link.target for link in collect(prefix).links}
    assert links["etc/absolute"] == "../share/demo.bin"


def test_a_link_out_of_the_environment_is_refused(prefix: Path) -> None:
    (prefix / "etc" / "out").symlink_to("/etc/hostname")

    with pytest.raises(NotPackable, match="etc/out: links out of the environment"):
        collect(prefix)


def test_a_pipe_in_the_environment_is_refused(prefix: Path) -> None:
    os.mkfifo(prefix / "etc" / "pipe")

    with pytest.raises(NotPackable, match="neither a file nor a link: etc/pipe"):
        collect(prefix)


def test_packing_changes_neither_environment_nor_package_cache(
    prefix: Path, cache: Path, depot: DepotFolder
) -> None:
    def state() -> dict[Path, tuple[int, int, int]]:
        paths = [*prefix.rglob("*"), *cache.rglob("*")]
        stats = {path: path.lstat() for path in paths}
        return {path: (one.st_mtime_ns, one.st_size, one.st_mode) for path, one in stats.items()}

    before = state()
    pack_environment(prefix, depot)

    assert state() == before


def test_every_file_of_a_depot_can_be_read_by_others(prefix: Path, depot: DepotFolder) -> None:
    pack_environment(prefix, depot)

    modes = {path.stat().st_mode & 0o777 for path in depot.folder.rglob("*") if path.is_file()}
    assert modes == {0o644}


def test_level_is_honoured_and_a_checksum_is_written(prefix: Path, tmp_path: Path) -> None:
    sizes = []
    for level in (1, 9):
        depot = DepotFolder(tmp_path / f"depot-{level}")
        archive = pack_environment(prefix, depot, Form(level=level)).archive
        assert archive is not None
        sizes.append(archive.size)
        frame = get_frame_parameters(depot.archive_path(archive).read_bytes())
        assert frame.has_checksum

    assert sizes[1] < 0.95 * sizes[0]


def test_memory_does_not_grow_with_the_largest_file(
    prefix: Path, depot: DepotFolder, tmp_path: Path
) -> None:
    """Of 400 MB that zstd cannot press together."""
    block = os.urandom(MB)
    with (prefix / "share" / "large.bin").open("wb") as large:
        for number in range(400):
            large.write(number.to_bytes(4, "little") + block[4:])
    script = tmp_path / "pack.py"
    script.write_text(PACK)

    said = subprocess.run(
        [sys.executable, script, prefix, depot.folder], check=True, capture_output=True, text=True
    ).stdout

    assert int(said) < 300 * MB
