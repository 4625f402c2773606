"""What does not fit on a host is refused before anything is written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envpack.node import suitable
from envpack.node.errors import Unsuitable
from envpack.node.host import Host
from tests.envpack_depot import APP, ENV, MODEL, Content, TestDepot
from tests.machines import NOBODY
from tests.unit.envpack.node.scenes import sized, unpacked, written


def test_a_root_too_long_for_the_placeholder_is_refused_first(
    depot: TestDepot, tmp_path: Path
) -> None:
    long = tmp_path / ("r" * 100) / ("o" * 100)
    long.mkdir(parents=True)
    host = Host(long)

    with pytest.raises(Unsuitable, match="room for 255"):
        unpacked(host, depot, depot.release())

    assert written(host) == []


def test_a_prefix_may_be_255_characters_and_not_256(depot: TestDepot, tmp_path: Path) -> None:
    release = depot.release()
    tail = len("/env/") + 64
    for length, fits in ((255, True), (256, False)):
        room = length - tail - len(str(tmp_path)) - 1
        host = Host(tmp_path / ("r" * min(room, 200)) if room <= 200 else tmp_path / "x")
        if len(str(host.layer("env", "a" * 64))) != length:
            pytest.skip("the tests' own folder is too deep or too short")
        if fits:
            unpacked(host, depot, release)
        else:
            with pytest.raises(Unsuitable, match="256 bytes long, the environment has room"):
                unpacked(host, depot, release)


@contextmanager
def another_user() -> Iterator[None]:
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_refused_before_its_disk_is_asked() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o555)
        need = suitable.Need(Path(place, "weights"), 1, 1)

        with another_user(), pytest.raises(Unsuitable, match="cannot be written by this user"):
            suitable.check_room([need])
        with another_user():
            suitable.check_room([need._replace(size=0, files=0)])


def test_a_root_that_is_a_file_is_refused(depot: TestDepot, tmp_path: Path) -> None:
    (tmp_path / "root").touch()

    with pytest.raises(Unsuitable, match="is no folder"):
        unpacked(Host(tmp_path / "root"), depot, depot.release())


@pytest.mark.parametrize(
    ("fact", "value", "why"),
    [
        ("platform", "linux-riscv64", "made for linux-riscv64"),
        ("glibc", "99.1", "needs glibc 99.1 or newer"),
    ],
)
def test_a_host_that_cannot_run_it_is_told_before_anything_is_written(
    host: Host, depot: TestDepot, fact: str, value: str, why: str
) -> None:
    content = Content(files=ENV.files, links=ENV.links, facts={**ENV.facts, fact: value})

    with pytest.raises(Unsuitable, match=why):
        unpacked(host, depot, depot.release(env=depot.layer("env", content)))

    assert written(host) == []


def test_space_is_asked_for_before_anything_is_written(host: Host, depot: TestDepot) -> None:
    env = sized(depot, "env", ENV, 10**15)

    with pytest.raises(Unsuitable, match=r"1,000,000,0\d\d MB needed, .* free"):
        unpacked(host, depot, depot.release(env=env))

    assert written(host) == []


@pytest.mark.parametrize("kinds", [("env", "app"), ("env", "model"), ("app", "model")])
def test_space_is_asked_for_all_layers_together(
    host: Host, depot: TestDepot, tmp_path: Path, kinds: tuple[str, str]
) -> None:
    most = shutil.disk_usage(tmp_path).free * 6 // 10  # one of them would fit
    contents = {"env": ENV, "app": APP, "model": MODEL}
    layers = {kind: sized(depot, kind, contents[kind], most) for kind in kinds}

    with pytest.raises(Unsuitable, match=r"MB needed, .* free"):
        unpacked(host, depot, depot.release(1, **layers))

    assert written(host) == []


def test_what_a_killed_run_left_makes_room_before_space_is_asked_for(
    host: Host, depot: TestDepot
) -> None:
    left = host.layer("env", "a" * 64)
    (left / "lib").mkdir(parents=True)
    (left.with_name(f".{'b' * 64}") / "lib").mkdir(parents=True)

    with pytest.raises(Unsuitable, match="MB needed"):
        unpacked(host, depot, depot.release(env=sized(depot, "env", ENV, 10**15)))

    assert written(host) == []
