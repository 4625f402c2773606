"""What nobody needs goes; what a name or a live process needs stays."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envpack.node import canary
from envpack.node.activate import activate, roll_back, state_of
from envpack.node.errors import NotThere, NotTrusted
from envpack.node.host import Host
from envpack.node.model import LAYERS
from envpack.node.prune import prune
from tests.envpack_depot import ENV, Content, TestDepot
from tests.unit.envpack.node.scenes import app_of, names, releases, unpacked


@contextmanager
def living(command: list[str], **options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has started, and waits for its stdin to end."""
    environment = {"PATH": "/usr/bin:/bin", "PACKSHOT_TEST_WAIT": "1"}
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=options.get("cwd", "/"),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n" if options.get("echo") else b"")
        process.stdin.flush()
        process.stdout.readline()  # it runs
        yield process
        process.stdin.write(b"\n")
        process.stdin.close()


def test_releases_beyond_those_to_keep_go_with_their_layers(host: Host, depot: TestDepot) -> None:
    made = releases(host, depot, 5)
    activate(host, made[3])
    activate(host, made[4])

    done = prune(host, keep=1)

    assert set(done.releases) == {made[0], made[1]}
    assert names(host.root / "releases") == {made[2], made[3], made[4]}
    apps = {host.release(digest).app for digest in made[2:]}
    assert {path.name for path in (host.root / "app").iterdir() if path.is_dir()} == apps
    assert len(names(host.root / "env")) == 3  # one tree, its manifest and mark, still needed


def test_what_is_current_previous_or_canary_stays(host: Host, depot: TestDepot) -> None:
    made = releases(host, depot, 4)
    canary.set_to(host, made[1], ["0"])
    activate(host, made[2])
    activate(host, made[3])

    assert prune(host, keep=0).releases == (made[0],)
    assert names(host.root / "releases") == set(made[1:])


def test_a_dry_run_removes_nothing(host: Host, depot: TestDepot) -> None:
    made = releases(host, depot, 2)
    activate(host, made[1])

    assert prune(host, keep=0, dry_run=True).releases == (made[0],)
    assert names(host.root / "releases") == set(made)


def test_a_release_that_a_worker_runs_from_stays_and_works_through_a_rollback(
    host: Host, depot: TestDepot
) -> None:
    made = releases(host, depot, 3)
    activate(host, made[0])
    with living([str(host.root / "current/bin/packshot-worker"), "run"]) as worker:
        activate(host, made[1])
        activate(host, made[2])
        roll_back(host)

        done = prune(host, keep=0)

        assert done.releases == ()
        assert done.in_use == (made[0],)
        assert host.release_folder(made[0]).is_dir()
        assert worker.poll() is None
    assert worker.returncode == 0  # it has gone on reading its own script
    assert prune(host, keep=0).releases == (made[0],)


def test_the_lock_alone_keeps_a_release(host: Host, depot: TestDepot) -> None:
    # As if another user's process held it: nothing of ours in /proc names the release.
    made = releases(host, depot, 2)
    activate(host, made[1])
    held = os.open(host.release_folder(made[0]) / "release.json", os.O_RDONLY)
    command = f"flock -s {held}; echo; read -r line"

    with subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[held],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        os.close(held)
        assert prune(host, keep=0).in_use == (made[0],)
        process.stdin.close()
    assert prune(host, keep=0).releases == (made[0],)


@pytest.mark.parametrize("how", ["maps", "cwd"])
def test_a_layer_that_a_process_maps_or_works_in_stays(
    host: Host, depot: TestDepot, how: str
) -> None:
    cat = Path(shutil.which("cat") or "/bin/cat").resolve().read_bytes()
    content = Content(files={**ENV.files, "bin/cat": (cat, 0o755)}, links=ENV.links)
    env = depot.layer("env", content)
    old = depot.release(1, env=env)
    new = depot.release(2, app=app_of(depot, 2))
    for digest in (old, new):
        unpacked(host, depot, digest)
    activate(host, new)
    tree = host.layer("env", env)
    program = tree / "bin/cat" if how == "maps" else Path("/bin/cat")

    with living([str(program)], cwd=str(tree) if how == "cwd" else "/", echo="1"):
        done = prune(host, keep=0)

        assert done.releases == (old,)  # nobody was started by its programs
        assert f"env/{env}" in done.in_use
        assert (tree / "bin/cat").exists()
    assert f"env/{env}" in prune(host, keep=0).layers
    assert not tree.exists()


@pytest.mark.parametrize("kind", ["env", "app", "model"])
def test_half_a_document_does_not_cost_all_layers(host: Host, depot: TestDepot, kind: str) -> None:
    (only,) = releases(host, depot, 1)
    activate(host, only)
    (host.root / kind / f".{'a' * 64}.json.draft").write_bytes(b"{")

    prune(host, keep=0)

    for each in LAYERS:
        assert host.placed(each, getattr(host.release(only), each)).is_dir()


def copied(folder: Path, name: str) -> None:
    subprocess.run(["cp", "-a", str(folder), str(folder.with_name(name))], check=True)


def test_a_folder_that_is_no_release_stops_nothing(host: Host, depot: TestDepot) -> None:
    made = releases(host, depot, 3)
    activate(host, made[2])
    copied(host.release_folder(made[2]), f"{made[2]}.bak")
    (host.release_folder("f" * 64) / "bin").mkdir(parents=True)

    assert host.named(made[0][:12]) == made[0]
    assert set(host.odd()) == {f"{made[2]}.bak", "f" * 64}
    assert set(prune(host, keep=0).releases) == set(made[:2])
    assert host.named("current") == made[2]
    assert names(host.root / "releases") == {made[2], f"{made[2]}.bak"}


@pytest.mark.parametrize("active", [True, False])
def test_nothing_is_pruned_beside_a_release_that_cannot_be_read(
    host: Host,
    depot: TestDepot,
    active: bool,  # noqa: FBT001
) -> None:
    made = releases(host, depot, 2)
    activate(host, made[1 if active else 0])
    document = host.release_folder(made[1]) / "release.json"
    document.chmod(0o644)
    document.write_bytes(document.read_bytes().replace(b"test-2", b"test-3"))

    with pytest.raises(
        NotTrusted, match="holds another one: packshot-env unpack --again; or remove"
    ):
        prune(host, keep=0)

    assert len(names(host.root / "app")) == 6  # of each: the tree, its manifest and mark


def test_nothing_is_pruned_while_what_is_current_is_not_here(host: Host, depot: TestDepot) -> None:
    made = releases(host, depot, 2)
    activate(host, made[1])
    shutil.rmtree(host.release_folder(made[1]))

    with pytest.raises(NotThere, match=f"current: release {made[1][:12]} is not here: unpack it"):
        prune(host, keep=0)
    unpacked(host, depot, made[1])

    assert prune(host, keep=0).releases == (made[0],)
    assert state_of(host, host.release(made[1])) == "ready"


def test_what_a_killed_unpack_left_goes(host: Host, depot: TestDepot) -> None:
    made = releases(host, depot, 1)
    activate(host, made[0])
    (host.layer("env", "a" * 64) / "lib").mkdir(parents=True)
    draft = host.root / "releases" / f".{'b' * 64}"
    draft.mkdir()
    host.parts.mkdir(exist_ok=True)
    (host.parts / ("c" * 64)).write_bytes(b"half")

    assert prune(host, keep=0, dry_run=True).downloads == 4
    assert draft.exists()
    done = prune(host, keep=0)

    assert (done.layers, done.downloads) == ((f"env/{'a' * 64}",), 4)
    assert not host.layer("env", "a" * 64).exists()
    assert not draft.exists()
    assert not host.parts.exists()
