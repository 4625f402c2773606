"""Where a root lies: known by its real path, and not to be moved."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from envpack.node.activate import activate, state_of
from envpack.node.errors import NotTrusted, Unsuitable
from envpack.node.host import Host
from envpack.node.plan import Wishes
from envpack.node.unpack import unpack
from tests.envpack_depot import TestDepot
from tests.unit.envpack.node.scenes import trusted, unpacked


def test_a_root_with_blanks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match="blanks"):
        Host(tmp_path / "my root")


def test_a_root_is_known_by_its_real_path(host: Host, depot: TestDepot, tmp_path: Path) -> None:
    host.root.mkdir()
    (tmp_path / "link").symlink_to(host.root)

    release = unpacked(Host(tmp_path / "link"), depot, depot.release()).release

    text = (host.layer("env", release.env) / "etc/demo.conf").read_text()
    assert text == f"prefix={host.layer('env', release.env)}\n"


@pytest.mark.parametrize("kind", ["env", "app", "model", "releases"])
def test_a_folder_of_the_root_may_be_a_link_to_another_disk(
    host: Host, depot: TestDepot, tmp_path: Path, kind: str
) -> None:
    host.root.mkdir()
    (tmp_path / "disk").mkdir()
    (host.root / kind).symlink_to(tmp_path / "disk")

    release = unpacked(host, depot, depot.release()).release
    assert unpacked(host, depot, release.digest).fresh == ()
    activate(host, release.digest)

    program = host.root / "current/bin/packshot-worker"
    said = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    folder = host.root / kind if kind == "releases" else tmp_path / "disk"
    assert (folder / getattr(release, kind, release.digest)).is_dir()
    assert f"PACKSHOT_RELEASE={release.digest}\n" in said
    assert state_of(host, release) == "ready"


def test_a_moved_root_is_refused_at_the_next_unpack_and_at_start(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    release = depot.release()
    unpacked(host, depot, release)
    moved = tmp_path / "moved"
    host.root.rename(moved)

    with pytest.raises(NotTrusted, match="cannot be moved"):
        unpacked(Host(moved), depot, release)
    start = [str(moved / "releases" / release / "bin/packshot-worker")]
    ended = subprocess.run(start, capture_output=True, text=True, check=False)
    assert ended.returncode == 69
    assert "cannot be moved" in ended.stderr


def test_a_copied_root_is_refused_although_the_original_stands(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    release = depot.release()
    unpacked(host, depot, release)
    subprocess.run(["cp", "-a", str(host.root), str(tmp_path / "copy")], check=True)

    with pytest.raises(NotTrusted, match=r"stands at .*/copy/env/.* cannot be moved"):
        unpacked(Host(tmp_path / "copy"), depot, release)


def test_weights_that_were_taken_away_are_missed(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    digest = depot.release()
    release = unpack(host, trusted(depot), digest, Wishes(model_to=tmp_path / "disk")).release
    (tmp_path / "disk").rename(tmp_path / "other")

    with pytest.raises(NotTrusted, match="is not there any more"):
        host.placed("model", release.model)
