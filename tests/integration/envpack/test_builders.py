"""micromamba, conda and pixi, as far as they can be had here: what they are asked to do.

None of them can be installed where these tests were written.  A stub under their name records
its words and makes the prefix that the real one would; their real answers are not tested.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from rattler import LockFile

from envpack.node.errors import NotThere, Unsuitable
from envpack.pack.builders import BUILDERS, pixi_lock, present
from envpack.pack.lock import CondaPackage, Lock
from envpack.pack.process import ToolFailed
from envpack.pack.spec import Spec

PYTHON = CondaPackage(
    url="https://conda.example/forge/linux-64/python-3.11.7-0_cpython.conda", sha256="b" * 64
)
TZDATA = CondaPackage(
    url="https://conda.example/forge/noarch/tzdata-2026b-h78e105d_0.conda", sha256="d" * 64
)
LOCK = Lock(spec="a" * 64, platform="linux-64", conda=(PYTHON, TZDATA), wheels=())
SPEC = Spec(
    name="edge",
    variant="cpu",
    platform="linux-64",
    python="3.11",
    channels=("https://conda.example/forge",),
    conda=("python 3.11.*", "tzdata"),
    wheels=(),
)
STUB = """#!{python}
import json, os, sys
from pathlib import Path
here = Path(__file__)
words = sys.argv[1:]
with here.with_suffix(".argv").open("a") as record:
    record.write(json.dumps([words, os.environ.get("CONDA_PKGS_DIRS")]) + "\\n")
if here.with_suffix(".fails").exists():
    sys.exit("critical: the sha256 of python does not match")
if "--dry-run" in words:
    print(here.with_suffix(".answer").read_text())
elif "--prefix" in words:
    Path(words[words.index("--prefix") + 1], "conda-meta").mkdir(parents=True)
else:
    workspace = Path(words[words.index("--manifest-path") + 1]).parent
    (workspace / ".pixi/envs/default/conda-meta").mkdir(parents=True)
"""


class Stub:
    """A program of this name, first on the PATH."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self.path.write_text(STUB.format(python=sys.executable))
        self.path.chmod(0o755)

    def answers(self, value: object) -> None:
        self.path.with_suffix(".answer").write_text(json.dumps(value))

    def fails(self) -> None:
        self.path.with_suffix(".fails").touch()

    def calls(self) -> list[tuple[list[str], str | None]]:
        lines = self.path.with_suffix(".argv").read_text().splitlines()
        return [tuple(json.loads(line)) for line in lines]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


def test_the_first_that_is_there_is_taken(programs: Path) -> None:
    assert present().name == "py-rattler"

    for name in ("pixi", "conda", "micromamba"):
        Stub(programs, name)
        assert present().name == name


def test_one_that_was_asked_for_and_is_not_there_is_named(programs: Path) -> None:
    Stub(programs, "micromamba")

    with pytest.raises(NotThere, match="looked for conda;"):
        present("conda")


@pytest.mark.parametrize("name", ["micromamba", "conda"])
def test_a_program_links_what_the_lock_names_by_digest(
    programs: Path, tmp_path: Path, name: str
) -> None:
    stub, prefix, cache = Stub(programs, name), tmp_path / "env", tmp_path / "cache"

    BUILDERS[name].link(LOCK, prefix, cache)

    ((words, packages),) = stub.calls()
    explicit = Path(words[words.index("--file") + 1]).read_text().splitlines()
    assert words[:2] == ["create", "--yes"]
    assert words[words.index("--prefix") + 1] == str(prefix)
    assert explicit == ["@EXPLICIT", *(f"{one.url}#{one.sha256}" for one in LOCK.conda)]
    # its packages stay beside the prefix until it is packed
    assert str(cache) in (packages or words[words.index("--root-prefix") + 1])


@pytest.mark.parametrize("name", ["micromamba", "conda"])
def test_a_program_solves_from_the_channels_of_the_spec_alone(
    programs: Path, tmp_path: Path, name: str
) -> None:
    stub = Stub(programs, name)
    stub.answers(
        {"actions": {"FETCH": [{"url": one.url, "sha256": one.sha256} for one in LOCK.conda]}}
    )

    assert BUILDERS[name].solve(SPEC, tmp_path) == LOCK.conda

    ((words, _),) = stub.calls()
    channels = words.index("--override-channels")
    assert {"--dry-run", "--json"} < set(words)
    assert words[channels + 1 :] == ["--channel", *SPEC.channels, *SPEC.conda]


def test_an_answer_that_cannot_be_read_is_no_solution(programs: Path, tmp_path: Path) -> None:
    Stub(programs, "conda").answers({"success": False})

    with pytest.raises(ToolFailed, match="conda: its answer cannot be read"):
        BUILDERS["conda"].solve(SPEC, tmp_path)


def test_what_a_program_says_last_is_passed_on(programs: Path, tmp_path: Path) -> None:
    Stub(programs, "micromamba").fails()

    with pytest.raises(ToolFailed, match="micromamba: ended with 1: critical: the sha256"):
        BUILDERS["micromamba"].link(LOCK, tmp_path / "env", tmp_path / "cache")


def test_pixi_installs_its_lock_and_the_prefix_links_to_it(programs: Path, tmp_path: Path) -> None:
    stub, prefix, cache = Stub(programs, "pixi"), tmp_path / "env", tmp_path / "cache"

    BUILDERS["pixi"].link(LOCK, prefix, cache)

    ((words, _),) = stub.calls()
    assert words == ["install", "--frozen", "--manifest-path", str(cache / "pixi.toml")]
    assert prefix.resolve() == cache / ".pixi/envs/default"
    assert (cache / "pixi.lock").read_text() == pixi_lock(LOCK)


def test_the_lock_that_pixi_is_given_is_one_for_its_own_library(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(pixi_lock(LOCK))

    environment = LockFile.from_path(path).default_environment()
    assert environment is not None
    (platform,) = environment.platforms()
    records = environment.conda_repodata_records_for_platform(platform) or []

    found = [CondaPackage(url=str(one.url), sha256=(one.sha256 or b"").hex()) for one in records]
    assert sorted(found) == sorted(LOCK.conda)


def test_pixi_says_that_it_cannot_refresh_a_lock(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match="use micromamba, conda or py-rattler"):
        BUILDERS["pixi"].solve(SPEC, tmp_path)
