"""From a prefix to a host: packed, released, unpacked by another user, the original gone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from envpack.node.model import Archive
from envpack.pack.node_file import node_file
from tests.conda_prefix import SITE_PACKAGES, make_prefix, pip_install, write_wheel
from tests.integration.envpack.conftest import TOOL

NOBODY = 65534
#: A Python that every user can start, as a bare host has it.
HOST_PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
MAPPED = """
import json, ssl, sqlite3, sys
import demo_tool, application
with open("/proc/self/maps") as maps:
    files = sorted({line.split(maxsplit=5)[5].strip() for line in maps if "/" in line})
print(json.dumps({"prefix": sys.prefix, "files": files, "value": application.VALUE}))
"""

Document = dict[str, Any]


def _document(text: str) -> Document:
    found: Document = json.loads(text)
    return found


@dataclass(frozen=True)
class Site:
    """A build machine's depot and a host, where another user can reach them."""

    folder: Path
    prefix: Path
    cache: Path
    channel: Path

    @property
    def depot(self) -> Path:
        return self.folder / "depot"

    @property
    def key(self) -> Path:
        return self.prefix.parent / "release.key"

    def build(self, *words: str | Path) -> Document:
        """A command of the build machine."""
        command = [sys.executable, "-m", "envpack", *map(str, words), "--json"]
        return _document(self._run(command, None))

    def host(self, *words: str | Path) -> Document:
        """A command of the host's one file, as its own user."""
        assert HOST_PYTHON is not None
        command = [HOST_PYTHON, "-I", str(self.folder / "packshot-node.pyz"), *map(str, words)]
        return _document(self._run([*command, "--json"], NOBODY if os.geteuid() == 0 else None))

    def unpack(self, release: str) -> Document:
        return self.host(
            *("unpack", release, "--root", self.folder / "root", "--depot", self.depot),
            *("--key", self.folder / "release.pub"),
        )

    def start(self, release: str, code: str) -> Document:
        """In the environment's own Python, as a worker is started."""
        folder = self.folder / "root" / "releases" / release
        python = (folder / "env").resolve() / "bin" / "python"
        return _document(
            self._run(
                [str(python), "-B", "-c", code],
                NOBODY if os.geteuid() == 0 else None,
                {"PYTHONPATH": str((folder / "app").resolve()), "PYTHONNOUSERSITE": "1"},
            )
        )

    def _run(self, command: list[str], user: int | None, env: dict[str, str] | None = None) -> str:
        ended = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", **(env or {})},
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


@pytest.fixture(scope="module")
def site(
    conda_channel: Path, wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    if HOST_PYTHON is None:
        pytest.skip("no Python that another user could start")
    work = tmp_path_factory.mktemp("site")
    folder = Path(tempfile.mkdtemp(prefix="packshot-site-"))
    folder.chmod(0o755)
    site = Site(folder, work / "prefix", work / "cache", conda_channel)
    make_prefix(conda_channel, site.prefix, site.cache)
    pip_install(site.prefix, "--find-links", str(wheelhouse), "demo-tool")
    site.build("keygen", site.key, "--public", folder / "release.pub")
    (folder / "packshot-node.pyz").write_bytes(node_file())
    (folder / "root").mkdir(mode=0o777)
    (folder / "root").chmod(0o777)
    yield site
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Digests:
    env: str
    app: str
    model: str


@pytest.fixture(scope="module")
def layers(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Digests:
    work = tmp_path_factory.mktemp("layers")
    wheel = write_wheel(work, "application", "1.0", {"application/__init__.py": b"VALUE = 1\n"})
    weights = work / "weights"
    (weights / "vae").mkdir(parents=True)
    (weights / "vae" / "model.safetensors").write_bytes(bytes(range(256)) * 64)
    (weights / "model_index.json").write_text("{}")
    (weights / ".cache").mkdir()
    (weights / ".cache" / "download.lock").touch()
    env = site.build("pack", site.prefix, "--depot", site.depot)
    app = site.build("app", "--wheel", wheel, "--depot", site.depot)
    model = site.build("model", "add", weights, "--depot", site.depot)
    return Digests(env["digest"], app["digest"], model["digest"])


def release_of(site: Site, layers: Digests, *more: str | Path) -> Document:
    return site.build(
        *("release", "--depot", site.depot, "--key", site.key, "--commit", "c" * 40),
        *("--env", layers.env, "--app", layers.app, "--model", layers.model, *more),
    )


@pytest.fixture(scope="module")
def first(site: Site, layers: Digests) -> Document:
    return release_of(site, layers, "--date", "2026-11-22")


def test_another_user_runs_it_with_the_original_gone(site: Site, first: Document) -> None:
    away = site.prefix.with_name("renamed-away")
    site.prefix.rename(away)
    try:
        site.unpack(first["digest"])
        said = site.start(first["digest"], MAPPED)
    finally:
        away.rename(site.prefix)

    assert said["value"] == 1
    assert said["prefix"] == str(site.folder / "root" / "env" / first["env"])
    mine = [file for file in said["files"] if "python" in file]
    assert all(file.startswith(said["prefix"]) for file in mine)
    assert not any(file.startswith((sys.base_prefix, str(site.prefix))) for file in said["files"])


def test_a_model_layer_holds_each_file_once_under_its_digest(site: Site, layers: Digests) -> None:
    manifest = json.loads((site.depot / "manifests" / f"{layers.model}.json").read_text())

    assert [row[0] for row in manifest["files"]] == ["model_index.json", "vae/model.safetensors"]
    for _, digest, size, _ in manifest["files"]:
        assert (site.depot / "files" / digest).stat().st_size == size


def test_releases_are_counted_and_dated(site: Site, layers: Digests, first: Document) -> None:
    second = release_of(site, layers, "--date", "2026-11-22")
    third = release_of(site, layers, "--date", "2026-11-23", "--counter", "9")

    names = [(one["counter"], one["name"]) for one in (first, second, third)]
    assert names == [(1, "2026.11.22-1"), (2, "2026.11.22-2"), (9, "2026.11.23-1")]
    with pytest.raises(AssertionError, match="counter 9: the depot has 9 already"):
        release_of(site, layers, "--counter", "9")


def test_a_release_of_a_layer_that_is_not_there_is_refused(site: Site, layers: Digests) -> None:
    with pytest.raises(AssertionError, match="holds no manifests/ffff"):
        release_of(site, Digests(env="f" * 64, app=layers.app, model=layers.model))
    with pytest.raises(AssertionError, match="is a layer of kind app"):
        release_of(site, Digests(env=layers.app, app=layers.app, model=layers.model))


def test_a_delta_is_small_and_makes_the_same_tree(
    site: Site,
    layers: Digests,
    first: Document,
    tmp_path: Path,
) -> None:
    site.unpack(first["digest"])
    newer = dict(TOOL) | {"demo_tool/__init__.py": b"def main():\n    print('two')\n"}
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "demo_tool", "2.0", newer, {"demo-tool": "demo_tool:main"})
    prefix = make_prefix(site.channel, tmp_path / "prefix", site.cache)
    pip_install(prefix, "--find-links", str(wheels), "demo-tool")
    env = site.build("pack", prefix, "--depot", site.depot)["digest"]

    delta = site.build("delta", env, "--base", layers.env, "--depot", site.depot)
    release = release_of(site, Digests(env, layers.app, layers.model), "--counter", "20")
    for whole in whole_archives(site, env):
        (site.depot / "archives" / whole.name).unlink()
    unpacked = site.unpack(release["digest"])

    assert delta["share"] < 0.1
    assert unpacked["fetched"] < 2 * delta["size"] + 1_000_000
    tree = site.folder / "root" / "env" / env
    assert "two" in (tree / SITE_PACKAGES / "demo_tool" / "__init__.py").read_text()
    assert site.start(release["digest"], MAPPED)["value"] == 1


def whole_archives(site: Site, digest: str) -> list[Archive]:
    document = json.loads((site.depot / "layers" / f"{digest}.json").read_text())
    archives = [Archive(**one) for one in document["archives"]]
    return [one for one in archives if one.base is None]


def test_a_delta_between_kinds_of_layers_is_refused(site: Site, layers: Digests) -> None:
    with pytest.raises(AssertionError, match="two environments or two applications"):
        site.build("delta", layers.env, "--base", layers.app, "--depot", site.depot)


def test_a_wheel_packed_twice_is_one_application(
    site: Site, layers: Digests, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path, "application", "1.0", {"application/__init__.py": b"VALUE = 1\n"})

    again = site.build("app", "--wheel", wheel, "--depot", tmp_path / "depot")

    assert again["digest"] == layers.app
    assert {path.name.partition(".")[2] for path in (tmp_path / "depot/archives").iterdir()} == {
        "tar.zst",
        "tar.gz",
    }
