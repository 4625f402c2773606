"""Killed at any step, an unpack harms nothing that runs, and the next one is clean.

Also: all of it works as an ordinary user, with the host's own Python and the one file.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic

import pytest

from envpack.node.host import Host
from envpack.node.integrity import differing
from envpack.node.trees import remove
from envpack.pack.node_file import node_file
from tests.envpack_depot import APP, ENV, MODEL, SIGNER, Content, TestDepot

FILES = 1500
SECONDS = 60  # until a step must have come
NOBODY = 65534

LARGE = Content(
    files={
        **ENV.files,
        **{f"lib/many/{n % 50}/{n}.txt": (f"{n}\n".encode() * 200, 0o644) for n in range(FILES)},
    },
    links=ENV.links,
)
OTHER_APP = Content(files={**APP.files, "worker/other.py": (b"B = 2\n", 0o644)})
OTHER_MODEL = Content(files={**MODEL.files, "vae/more.bin": (b"v" * 9000, 0o644)})


class Made:
    """A depot with two releases; no test changes it."""

    def __init__(self, folder: Path) -> None:
        self.depot = TestDepot(folder / "depot")
        self.key = folder / "key.pub"
        self.key.write_text(SIGNER.public)
        self.node = folder / "packshot-node.pyz"
        self.node.write_bytes(node_file())
        self.first = self.depot.release(1)
        self.env = self.depot.layer("env", LARGE)
        self.app = self.depot.layer("app", OTHER_APP)
        self.model = self.depot.layer("model", OTHER_MODEL)
        self.next = self.depot.release(2, env=self.env, app=self.app, model=self.model)


class Scene:
    """A host on which one release is current, and the release that comes next."""

    def __init__(self, made: Made, root: Path) -> None:
        self.depot, self.key, self.node = made.depot, made.key, made.node
        self.first, self.next = made.first, made.next
        self.env, self.app, self.model = made.env, made.app, made.model
        self.host = Host(root)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(self.node), *words, "--root", str(self.host.root)]

    def unpack(self, release: str) -> list[str]:
        place = ["--depot", str(self.depot.folder), "--key", str(self.key)]
        return [*self.command("unpack", release), *place]

    def run(self, command: list[str]) -> None:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture
def scene(made: Made, tmp_path: Path) -> Scene:
    scene = Scene(made, tmp_path / "root")
    scene.run(scene.unpack(scene.first))
    scene.run(scene.command("activate", scene.first))
    return scene


def files_in(tree: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(tree))


#: By what can be seen on the disk when the step is reached.
STEPS: dict[str, Callable[[Scene], bool]] = {
    "its manifest stands": lambda s: s.host.manifest_path("env", s.env).exists(),
    "its first folder stands": lambda s: s.host.draft("env", s.env).exists(),
    "its first file stands": lambda s: files_in(s.host.draft("env", s.env)) > 0,
    "a third is written": lambda s: files_in(s.host.draft("env", s.env)) > FILES // 3,
    "two thirds are written": lambda s: files_in(s.host.draft("env", s.env)) > FILES * 2 // 3,
    "all is written": lambda s: files_in(s.host.draft("env", s.env)) >= FILES,
    "it is read-only": lambda s: mode(s.host.draft("env", s.env)) == 0o555,
    "it stands in its place": lambda s: s.host.layer("env", s.env).exists(),
    "it is complete": lambda s: s.host.completion_path("env", s.env).exists(),
    "the application comes": lambda s: s.host.draft("app", s.app).exists(),
    "the application is complete": lambda s: s.host.completion_path("app", s.app).exists(),
    "the model comes": lambda s: s.host.layer("model", s.model).exists(),
    "the model is complete": lambda s: s.host.completion_path("model", s.model).exists(),
    "the release comes": lambda s: s.host.release_folder(f".{s.next}").exists(),
}


def mode(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    return 0


def killed_when(command: list[str], reached: Callable[[], bool]) -> int:
    """How a process ended that was killed as soon as something could be seen, or had ended."""
    deadline = monotonic() + SECONDS
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not reached():
            assert monotonic() < deadline, "the step never came"
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()
    return process.returncode


def check_the_first_release_runs(scene: Scene) -> None:
    assert scene.host.linked("current") == scene.first
    program = str(scene.host.root / "current/bin/packshot-worker")
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert f"PACKSHOT_RELEASE={scene.first}" in said
    release = scene.host.release(scene.first)
    assert differing(scene.host, "env", release.env, quick=False) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_unpack_leaves_current_usable_and_the_next_run_clean(
    scene: Scene, step: str
) -> None:
    code = killed_when(scene.unpack(scene.next), lambda: STEPS[step](scene))

    assert code in {-signal.SIGKILL, 0}
    check_the_first_release_runs(scene)
    scene.run(scene.unpack(scene.next))
    scene.run(scene.command("activate", scene.next))
    for kind, digest in (("env", scene.env), ("app", scene.app)):
        assert differing(scene.host, kind, digest, quick=False) == []
    drafts = [path for path in scene.host.root.rglob("*") if path.name.startswith(".")]
    assert drafts == []


def test_most_of_the_steps_are_hit_in_the_middle(scene: Scene) -> None:
    half = STEPS["a third is written"]

    assert killed_when(scene.unpack(scene.next), lambda: half(scene)) == -signal.SIGKILL
    assert scene.host.completion("env", scene.env) is None


def test_a_killed_prune_leaves_current_usable_and_the_next_run_clean(scene: Scene) -> None:
    scene.run(scene.unpack(scene.next))
    tree = scene.host.layer("env", scene.env)
    before = files_in(tree)

    code = killed_when(
        scene.command("prune", "--keep", "0"), lambda: files_in(tree) < before or not tree.exists()
    )

    assert code in {-signal.SIGKILL, 0}
    check_the_first_release_runs(scene)
    scene.run(scene.command("prune", "--keep", "0"))
    assert not tree.exists()
    scene.run(scene.unpack(scene.next))
    assert differing(scene.host, "env", scene.env, quick=False) == []


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder of an ordinary user's, reachable by one."""
    if os.getuid() != 0:
        pytest.skip("the tests run as an ordinary user anyway")
    folder = Path(mkdtemp())
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    remove(folder)


def test_an_ordinary_user_unpacks_switches_and_prunes_with_the_hosts_python(nobodys: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("this host has no Python of its own")
    scene = Scene(Made(nobodys), nobodys / "root")
    for folder, _, files in os.walk(nobodys):
        Path(folder).chmod(0o755)
        for name in files:
            Path(folder, name).chmod(0o644)
    place = ["--depot", str(scene.depot.folder), "--key", str(scene.key)]

    def run(*words: str) -> str:
        ended = subprocess.run(
            [python, str(scene.node), *words],
            user=NOBODY, group=NOBODY, extra_groups=[], umask=0o077, cwd="/",
            env={"PATH": "/usr/bin:/bin", "PACKSHOT_ROOT": str(scene.host.root)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    for digest in (scene.first, scene.next):
        run("unpack", digest, *place)
        run("activate", digest)
    tree = scene.host.layer("env", scene.env)
    modes = {path.lstat().st_mode & 0o777 for path in tree.rglob("*") if not path.is_symlink()}
    assert modes == {0o555, 0o444}
    assert "ok" in run("check")
    (tree / "lib").chmod(0o755)
    (tree / "lib/stray.txt").write_text("x")
    assert "unpacked (env)" in run("unpack", scene.next, "--again", *place)
    assert not (tree / "lib/stray.txt").exists()
    run("rollback")
    run("activate", scene.next)
    run("rollback")
    run("canary", "set", scene.next, "--cards", "0")
    run("canary", "clear")
    assert run("prune", "--keep", "0")
    assert tree.exists()  # it is previous
