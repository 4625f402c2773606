"""``unpack --again``: made again beside what is there, then put in its place, or nothing is."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from envpack.node.activate import activate, roll_back, state_of
from envpack.node.check import check, failed
from envpack.node.errors import EnvpackError, Unsuitable
from envpack.node.host import Host
from envpack.node.integrity import differing
from envpack.node.plan import Wishes
from envpack.node.unpack import Unpacked, unpack
from tests.envpack_depot import ENV, Content, TestDepot
from tests.unit.envpack.node.scenes import names, releases, sized, started, trusted, unpacked

STRAY = "lib/stray.txt"


def again(host: Host, depot: TestDepot, release: str, model_to: Path | None = None) -> Unpacked:
    wishes = Wishes(allow_older=True, again=True, model_to=model_to)
    return unpack(host, trusted(depot), release, wishes)


def strayed(host: Host, release: str, kind: str = "env") -> Path:
    """The tree of a layer, which holds a file too many now."""
    tree = host.layer(kind, getattr(host.release(release), kind))
    (tree / "lib").mkdir(exist_ok=True) if kind == "app" else (tree / "lib").chmod(0o755)
    (tree / STRAY).write_text("x")
    return tree


def test_what_was_changed_is_made_again_when_asked(host: Host, depot: TestDepot) -> None:
    release = depot.release()
    env = unpacked(host, depot, release).release.env
    victim = host.layer("env", env) / "lib/deep/er/data.txt"
    victim.chmod(0o644)
    victim.write_bytes(b"evil\n" * 1000)

    assert unpacked(host, depot, release).fresh == ()
    assert unpack(host, trusted(depot), release, Wishes(again=True)).fresh == ("env",)
    assert differing(host, "env", env, quick=False) == []
    assert unpack(host, trusted(depot), release, Wishes(again=True)).fresh == ()


def test_what_a_process_uses_is_not_made_again(host: Host, depot: TestDepot) -> None:
    release = depot.release()
    tree = host.layer("env", unpacked(host, depot, release).release.env)
    (tree / "lib").chmod(0o755)
    (tree / "lib/evil.py").write_text("")

    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, cwd=tree) as process:
        with pytest.raises(Unsuitable, match="processes use it"):
            unpack(host, trusted(depot), release, Wishes(again=True))
        assert process.stdin is not None
        process.stdin.close()
    assert tree.is_dir()


def test_a_moved_root_is_made_again_when_asked(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    release = depot.release()
    unpacked(host, depot, release)
    host.root.rename(tmp_path / "moved")
    moved = Host(tmp_path / "moved")

    assert unpack(moved, trusted(depot), release, Wishes(again=True)).fresh
    program = str(moved.release_folder(release) / "bin/packshot-worker")
    subprocess.run([program], check=True, capture_output=True)


def test_nothing_is_lost_where_nothing_can_take_its_place(host: Host, depot: TestDepot) -> None:
    first, second = releases(host, depot, 2)
    activate(host, first)
    activate(host, second)
    roll_back(host)
    tree = strayed(host, first)
    (depot.folder / "archives").rename(depot.folder / "away")

    with pytest.raises(EnvpackError):
        again(host, depot, first)
    assert host.linked("current") == first
    assert (tree / STRAY).exists()
    assert started(host, first)

    (depot.folder / "away").rename(depot.folder / "archives")
    assert again(host, depot, first).fresh == ("env",)
    assert not (tree / STRAY).exists()
    assert started(host, first)


def test_nothing_is_lost_where_there_is_no_room(host: Host, depot: TestDepot) -> None:
    (first,) = releases(host, depot, 1)
    activate(host, first)
    tree = strayed(host, first)
    large = sized(depot, "app", Content(files={}), 10**15)

    with pytest.raises(Unsuitable, match="MB needed"):
        again(host, depot, depot.release(2, app=large))

    assert (tree / STRAY).exists()
    assert started(host, first)


def test_nothing_is_lost_where_the_new_tree_does_not_start(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    python = ENV.files["bin/python"][0].decode()
    fails = python.replace("here=", f"[ ! -e {tmp_path}/ill ] || exit 1\nhere=", 1).encode()
    content = Content(files={**ENV.files, "bin/python": (fails, 0o755)}, links=ENV.links)
    release = depot.release(env=depot.layer("env", content))
    unpacked(host, depot, release)
    tree = strayed(host, release)
    (tmp_path / "ill").touch()

    with pytest.raises(Unsuitable, match="does not start"):
        again(host, depot, release)

    assert (tree / STRAY).exists()
    assert [path for path in tree.parent.iterdir() if path.name.startswith(".")] == []
    (tmp_path / "ill").unlink()
    assert started(host, release)


def test_another_release_s_lock_keeps_what_both_name(host: Host, depot: TestDepot) -> None:
    first, second = releases(host, depot, 2)  # of one environment
    tree = strayed(host, first)
    held = os.open(host.release_folder(second) / "release.json", os.O_RDONLY)
    command = ["/bin/sh", "-c", f"flock -s {held}; echo; read -r line"]

    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[held]
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        os.close(held)
        with pytest.raises(Unsuitable, match="processes use it"):
            again(host, depot, first)
        process.stdin.close()

    assert (tree / STRAY).exists()
    assert again(host, depot, first).fresh == ("env",)


@pytest.mark.parametrize("part", ["app", "bin/packshot", "bin/packshot-worker"])
def test_a_release_s_folder_that_lacks_a_part_is_made_whole(
    host: Host, depot: TestDepot, part: str
) -> None:
    (release,) = releases(host, depot, 1)
    folder = host.release_folder(release)
    (folder / part).unlink()

    again(host, depot, release)

    assert names(folder / "bin") == {"packshot", "packshot-worker"}
    assert (folder / "app").is_dir()
    assert started(host, release)


@pytest.mark.parametrize("left", ["nothing of it", "a damaged document"])
def test_half_a_release_s_folder_is_made_whole(host: Host, depot: TestDepot, left: str) -> None:
    _, second = releases(host, depot, 2)
    activate(host, second)
    document = host.release_folder(second) / "release.json"
    document.chmod(0o644)
    document.unlink() if left == "nothing of it" else document.write_bytes(b"{")

    unpacked(host, depot, second)

    assert host.release(second).digest == second
    assert started(host, second)


@pytest.mark.parametrize("content", [None, b"", b"{"])
@pytest.mark.parametrize(
    "pattern", ["*/*.complete", "*/*.json", "releases/*/release.json", "releases/*/*.minisig"]
)
def test_a_note_that_a_power_failure_took_is_made_again_whoevers_it_is(
    host: Host, depot: TestDepot, pattern: str, content: bytes | None
) -> None:
    first, second = releases(host, depot, 2)
    damaged = [path.relative_to(host.root) for path in host.root.glob(pattern)]
    for note in damaged:
        path = host.root / note
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        for digest, release in host.releases().items():
            assert state_of(host, release), digest  # in words, and none of them raises

        again(host, depot, second)

        assert not failed(check(host, second, quick=True, needs_card=False))
        assert started(host, second)
        again(host, depot, first)
        assert set(host.releases()) == {first, second}

    assert len(damaged) >= 2


def test_what_is_as_it_was_passes_a_quick_check_again(host: Host, depot: TestDepot) -> None:
    (release,) = releases(host, depot, 1)
    env = host.release(release).env
    done = host.completion("env", env)
    assert done is not None
    host.complete("env", env, replace(done, completed=done.completed - 60))  # then touched
    assert differing(host, "env", env, quick=True) != []

    assert again(host, depot, release).fresh == ()

    assert differing(host, "env", env, quick=True) == []


def test_a_quick_check_believes_no_clock_but_that_of_the_disk(
    host: Host, depot: TestDepot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)  # a host that thinks it is 1970

    (release,) = releases(host, depot, 1)
    assert again(host, depot, release).fresh == ()

    for kind in ("env", "app"):
        assert differing(host, kind, getattr(host.release(release), kind), quick=True) == []


def test_every_release_of_a_moved_root_starts_again(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    first = depot.release(1)
    second = depot.release(2)  # of the same layers
    for digest in (first, second):
        unpacked(host, depot, digest)
    host.root.rename(tmp_path / "moved")
    moved = Host(tmp_path / "moved")

    again(moved, depot, first)

    for digest in (first, second):
        assert f"PACKSHOT_MODEL_DIR={moved.root}/model/" in started(moved, digest)


def test_weights_that_are_gone_come_again_elsewhere_and_all_releases_look_there(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    made = releases(host, depot, 2)  # of one model
    shutil.rmtree(host.layer("model", host.release(made[0]).model))

    assert again(host, depot, made[0], model_to=tmp_path / "disk").fresh == ("model",)

    for digest in made:
        assert f"PACKSHOT_MODEL_DIR={tmp_path}/disk\n" in started(host, digest)
        assert (host.release_folder(digest) / "model").resolve() == tmp_path / "disk"
        assert not failed(check(host, digest, quick=False, needs_card=False))


def test_a_file_too_many_among_the_weights_is_nobody_s_to_remove(
    host: Host, depot: TestDepot
) -> None:
    (release,) = releases(host, depot, 1)
    stranger = host.layer("model", host.release(release).model) / "notes.txt"
    stranger.write_text("mine")

    assert again(host, depot, release).fresh == ()
    assert stranger.read_text() == "mine"
