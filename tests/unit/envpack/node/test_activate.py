"""Switched by one rename, switched back the same way."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from envpack.node import commands
from envpack.node.activate import activate, roll_back
from envpack.node.cli import COMMANDS
from envpack.node.errors import InvalidManifest, NotThere, NotTrusted, Unreachable, Unsuitable
from envpack.node.host import Host
from envpack.node.prune import prune
from tests.envpack_depot import APP, TestDepot
from tests.unit.envpack.node.scenes import app_of, releases, unpacked, with_files


def test_the_switch_names_what_was_before(host: Host, depot: TestDepot) -> None:
    first, second = releases(host, depot, 2)

    assert activate(host, first).before is None
    assert activate(host, second).before == first
    assert (host.root / "current").resolve() == host.release_folder(second)
    assert host.linked("previous") == first


def test_a_rollback_returns_and_returns_again(host: Host, depot: TestDepot) -> None:
    first, second = releases(host, depot, 2)
    activate(host, first)
    activate(host, second)

    assert roll_back(host).release.digest == first
    assert host.linked("previous") == second
    assert roll_back(host).release.digest == second


def test_there_is_no_rollback_before_the_second_release(host: Host, depot: TestDepot) -> None:
    (only,) = releases(host, depot, 1)
    activate(host, only)
    activate(host, only)

    with pytest.raises(NotThere, match="nothing was active before"):
        roll_back(host)


def test_an_older_release_returns_only_where_it_is_and_is_allowed(
    host: Host, depot: TestDepot
) -> None:
    first, second = releases(host, depot, 2)
    older = depot.release(1, app=app_of(depot, 99))
    activate(host, second)

    with pytest.raises(NotTrusted, match="counter 1 is older than 2"):
        activate(host, first)
    for allow in (False, True):
        with pytest.raises(NotTrusted, match="counter 1 is older than 2"):
            unpacked(host, depot, older, allow_older=allow)  # a replay: it was never here
    assert activate(host, first, allow_older=True).before == second
    assert host.highest() == (2, second)


def test_a_highest_counter_that_was_lost_is_written_anew_as_list_says(
    host: Host, depot: TestDepot, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = releases(host, depot, 2)
    activate(host, second)
    (host.root / "highest").write_bytes(b"")
    with pytest.raises(InvalidManifest, match="packshot-env list --json"):
        activate(host, first)

    commands.main("packshot-env", "", COMMANDS, ["list", "--json", "--root", str(host.root)])
    told = max(json.loads(capsys.readouterr().out), key=lambda one: one["counter"])
    (host.root / "highest").write_text(f"{told['counter']} {told['release']}")

    assert host.highest() == (2, second)
    with pytest.raises(NotTrusted, match="counter 1 is older than 2"):
        activate(host, first)


def test_one_counter_names_one_release(host: Host, depot: TestDepot) -> None:
    (first,) = releases(host, depot, 1)
    activate(host, first)

    with pytest.raises(NotTrusted, match="has counter 1 like"):
        unpacked(host, depot, depot.release(1, app=app_of(depot, 99)))


def test_a_folder_in_the_place_of_current_is_told_with_what_to_do(
    host: Host, depot: TestDepot
) -> None:
    (release,) = releases(host, depot, 1)
    (host.root / "current").mkdir()

    with pytest.raises(Unsuitable, match=r"not a link to a release .*: move it away"):
        activate(host, release)


def test_a_release_that_lost_a_layer_is_not_activated(host: Host, depot: TestDepot) -> None:
    first, second = releases(host, depot, 2)
    activate(host, first)
    host.completion_path("app", host.release(second).app).unlink()

    with pytest.raises(NotThere, match=r"app layer .* not unpacked"):
        activate(host, second)

    assert host.linked("current") == first


def test_two_at_once_do_not_mix(host: Host, depot: TestDepot) -> None:
    (first,) = releases(host, depot, 1)

    with host.switching(), pytest.raises(Unreachable, match="another packshot-env works here"):
        activate(Host(host.root), first)


def test_a_rollback_does_not_wait_for_an_unpack(host: Host, depot: TestDepot) -> None:
    first, second = releases(host, depot, 2)
    activate(host, first)

    with host.locked():  # as an unpack holds it, for as long as a download takes
        activate(host, second)
        assert roll_back(host).release.digest == first
        with pytest.raises(Unreachable):
            unpacked(Host(host.root), depot, second)
    with host.switching(), pytest.raises(Unreachable):
        prune(Host(host.root), keep=0)  # what is being made current must not go


@pytest.mark.parametrize("name", ["", "abc", "0" * 12, "test-9"])
def test_a_name_that_means_nothing_is_said_to_mean_nothing(
    host: Host, depot: TestDepot, name: str
) -> None:
    releases(host, depot, 1)

    with pytest.raises(NotThere, match="no release of that name"):
        host.named(name)


def test_a_release_is_named_by_digest_head_name_or_link(host: Host, depot: TestDepot) -> None:
    first, second = releases(host, depot, 2)
    activate(host, first)

    assert {host.named(name) for name in (first, first[:9], "test-1", "current")} == {first}
    assert host.named("test-2") == second


def started(place: Path, **environment: str) -> str:
    """What the release's Python was called with, and in which environment."""
    return subprocess.run(
        [str(place / "bin/packshot-worker"), "run", "--card", "0"],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        check=True,
        text=True,
    ).stdout


def test_a_release_starts_with_its_own_python_and_nothing_of_the_hosts(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    (digest,) = releases(host, depot, 1)
    activate(host, digest)
    (tmp_path / "sbin").symlink_to(host.root / "current/bin")
    astray = {"PYTHONPATH": "/evil", "PYTHONHOME": "/evil", "LD_LIBRARY_PATH": "/evil"}
    model = {"PACKSHOT_MODEL_DIR": "/evil", "PACKSHOT_DATABASE_URL": "postgresql://kept"}

    for place in (host.root / "current", host.release_folder(digest)):
        said = started(place, **astray, **model)
        release = host.release(digest)
        assert said.startswith(f"{host.layer('env', release.env)}/bin/python -m worker run --card")
        assert f"PYTHONPATH={host.layer('app', release.app)}\n" in said
        assert f"PACKSHOT_MODEL_DIR={host.layer('model', release.model)}\n" in said
        assert f"PACKSHOT_RELEASE={digest}\n" in said
        assert "PYTHONNOUSERSITE=1\n" in said
        assert "postgresql://kept" in said
        assert "/evil" not in said


def test_a_program_may_be_reached_through_any_link(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    (digest,) = releases(host, depot, 1)
    activate(host, digest)
    (tmp_path / "packshot-worker").symlink_to(host.root / "current/bin/packshot-worker")

    ended = subprocess.run([str(tmp_path / "packshot-worker")], capture_output=True, check=True)

    assert digest.encode() in ended.stdout


def test_a_release_folder_that_was_copied_does_not_start(host: Host, depot: TestDepot) -> None:
    (digest,) = releases(host, depot, 1)
    copy = host.root / "releases" / "copy"
    subprocess.run(["cp", "-a", str(host.release_folder(digest)), str(copy)], check=True)

    ended = subprocess.run([str(copy / "bin/packshot")], capture_output=True, check=False)

    assert ended.returncode == 69
    assert b"cannot be moved" in ended.stderr


def test_a_release_whose_environment_is_gone_says_so(host: Host, depot: TestDepot) -> None:
    (digest,) = releases(host, depot, 1)
    tree = host.layer("env", host.release(digest).env)
    os.rename(tree, tree.with_name("elsewhere"))  # noqa: PTH104 - of a read-only tree

    program = str(host.release_folder(digest) / "bin/packshot")
    ended = subprocess.run([program], capture_output=True, check=False)

    assert ended.returncode == 69


def test_settings_that_were_packed_count_unless_a_file_is_named(
    host: Host, depot: TestDepot
) -> None:
    app = depot.layer("app", with_files(APP, **{"settings.env": b"PACKSHOT_ENGINE=fake\n"}))
    digest = unpacked(host, depot, depot.release(app=app)).release.digest
    folder = host.release_folder(digest)

    packed = started(folder)
    named = started(folder, PACKSHOT_ENV_FILE="/etc/packshot.env")

    assert f"PACKSHOT_ENV_FILE={host.layer('app', app)}/settings.env\n" in packed
    assert "PACKSHOT_ENV_FILE=/etc/packshot.env\n" in named


def test_what_a_supervisor_of_another_release_was_started_with_is_not_handed_down(
    host: Host, depot: TestDepot
) -> None:
    apps = [depot.layer("app", with_files(APP, **{"settings.env": b"# %d" % n})) for n in (1, 2)]
    _, second, bare = (
        unpacked(host, depot, depot.release(number, app=app)).release.digest
        for number, app in enumerate([*apps, app_of(depot, 9)], 1)
    )

    handed_down = {"PACKSHOT_ENV_FILE": f"{host.layer('app', apps[0])}/settings.env"}
    below_second = started(host.release_folder(second), **handed_down)

    assert f"PACKSHOT_ENV_FILE={host.layer('app', apps[1])}/settings.env\n" in below_second
    assert "PACKSHOT_ENV_FILE" not in started(host.release_folder(bare), **handed_down)
