"""The host's side is one file that any Python from 3.9 on runs, on its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envpack.node.cli import COMMANDS
from envpack.pack.node_file import node_file
from tests.envpack_depot import SIGNER, TestDepot

NODE = Path(__file__).parents[4] / "envpack" / "node"


def pythons() -> list[str]:
    """The one that runs the tests, and the oldest and newest that pyenv has beside it."""
    beside = [*Path.home().glob(".pyenv/versions/3.*/bin/python3")]
    versions = sorted(beside, key=lambda path: [int(n) for n in path.parts[-3].split(".")])
    fit = [str(path) for path in versions if int(path.parts[-3].split(".")[1]) >= 9]
    return [sys.executable, *dict.fromkeys([*fit[:1], *fit[-1:]])]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("node") / "packshot-node.pyz"
    path.write_bytes(node_file())
    return path


def run(python: str, node: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-I", "-W", "error", str(node), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def test_the_same_code_gives_the_same_bytes() -> None:
    assert node_file() == node_file()


@pytest.mark.parametrize("python", pythons())
def test_a_bare_host_unpacks_activates_and_starts_a_release(
    python: str, node: Path, tmp_path: Path
) -> None:
    depot = TestDepot(tmp_path / "depot")
    root, release = tmp_path / "root", depot.release()
    key = tmp_path / "key.pub"
    key.write_text(SIGNER.public)
    place = ["--depot", str(depot.folder), "--key", str(key)]

    verified = run(python, node, "verify", release, *place, "--archives")
    unpacked = run(python, node, "unpack", release, "--root", str(root), *place)
    active = run(python, node, "activate", release[:12], "--root", str(root))
    (root / "releases" / f"{release}.bak").mkdir()
    listed = run(python, node, "list", "--root", str(root))
    started = subprocess.run(
        [str(root / "current/bin/packshot-worker"), "run"],
        capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip

    for ended in (verified, unpacked, active, listed):
        assert ended.returncode == 0, ended.stderr
    assert "current  ready" in listed.stdout
    assert f"releases/{release}.bak: " in listed.stdout
    assert f"PACKSHOT_RELEASE={release}" in started.stdout


def test_all_that_a_release_can_be_brought_from_is_compared_before_it_is_trusted(
    node: Path, tmp_path: Path
) -> None:
    depot = TestDepot(tmp_path / "depot")
    release = depot.release()
    (tmp_path / "key.pub").write_text(SIGNER.public)
    words = ["verify", release, "--archives"]
    words += ["--depot", str(depot.folder), "--key", str(tmp_path / "key.pub")]
    assert run(sys.executable, node, *words).returncode == 0

    for path in (*depot.folder.glob("files/*"), *depot.folder.glob("archives/*")):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        ended = run(sys.executable, node, *words)
        path.write_bytes(content)

        assert ended.returncode == 77
        assert path.name in ended.stderr


def test_its_syntax_and_library_are_those_of_3_9() -> None:
    pytest.importorskip("vermin")
    vermin = [sys.executable, "-c", "import vermin; vermin.main()"]
    command = [*vermin, "-t=3.9-", "--no-tips", "--violations", str(NODE)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout


def test_every_command_explains_itself(node: Path) -> None:
    for words in COMMANDS:
        ended = run(sys.executable, node, *words.split(), "--help")
        assert ended.returncode == 0
        assert "usage: packshot-node" in ended.stdout


def test_a_fault_is_one_line_and_an_exit_code(node: Path, tmp_path: Path) -> None:
    ended = run(sys.executable, node, "activate", "nothing", "--root", str(tmp_path / "root"))

    assert ended.returncode == 66
    (line,) = ended.stderr.splitlines()
    said = f"packshot-node: 'nothing': no release of that name in {tmp_path / 'root'}: "
    assert line.startswith(said)
