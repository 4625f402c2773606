"""From a prefix to a host: packed, released, unpacked by another user, the original gone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from envpack.node.model import Archive
from tests.conda_prefix import SITE_PACKAGES, pip_install, write_wheel
from tests.integration.envpack.conftest import TOOL
from tests.machines import Document, Machines, as_user, document, machines

MAPPED = """
import json, ssl, sqlite3, sys
import demo_tool, application
with open("/proc/self/maps") as maps:
    files = sorted({line.split(maxsplit=5)[5].strip() for line in maps if "/" in line})
print(json.dumps({"prefix": sys.prefix, "files": files, "value": application.VALUE}))
"""


def start(site: Machines, release: str, code: str) -> Document:
    """In the environment's own Python, as a worker is started."""
    folder = site.root / "releases" / release
    how = as_user(site.user)
    how["env"] |= {"PYTHONPATH": str((folder / "app").resolve()), "PYTHONNOUSERSITE": "1"}
    python = (folder / "env").resolve() / "bin" / "python"
    ended = subprocess.run(
        [python, "-B", "-c", code], check=False, capture_output=True, text=True, **how
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return document(ended.stdout)


@pytest.fixture(scope="module")
def site(conda_channel: Path, wheelhouse: Path) -> Iterator[Machines]:
    with machines(another_user=True) as site:
        (site.folder / "build" / "channel").symlink_to(conda_channel)
        site.conda_prefix(site.prefix)
        pip_install(site.prefix, "--find-links", str(wheelhouse), "demo-tool")
        yield site


@dataclass(frozen=True)
class Digests:
    env: str
    app: str
    model: str


@pytest.fixture(scope="module")
def layers(site: Machines, tmp_path_factory: pytest.TempPathFactory) -> Digests:
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


def release_of(site: Machines, layers: Digests, *more: str | Path) -> Document:
    return site.build(
        *("release", "--depot", site.depot, "--key", site.key, "--commit", "c" * 40),
        *("--env", layers.env, "--app", layers.app, "--model", layers.model, *more),
    )


@pytest.fixture(scope="module")
def first(site: Machines, layers: Digests) -> Document:
    return release_of(site, layers, "--date", "2026-11-22")


def test_another_user_runs_it_with_the_original_gone(site: Machines, first: Document) -> None:
    away = site.prefix.with_name("renamed-away")
    site.prefix.rename(away)
    try:
        site.unpack(first["digest"])
        said = start(site, first["digest"], MAPPED)
    finally:
        away.rename(site.prefix)

    assert said["value"] == 1
    assert said["prefix"] == str(site.root / "env" / first["env"])
    mine = [file for file in said["files"] if "python" in file]
    assert all(file.startswith(said["prefix"]) for file in mine)
    assert not any(file.startswith((sys.base_prefix, str(site.prefix))) for file in said["files"])


def test_a_model_layer_holds_each_file_once_under_its_digest(
    site: Machines, layers: Digests
) -> None:
    manifest = json.loads((site.depot / "manifests" / f"{layers.model}.json").read_text())

    assert [row[0] for row in manifest["files"]] == ["model_index.json", "vae/model.safetensors"]
    for _, digest, size, _ in manifest["files"]:
        assert (site.depot / "files" / digest).stat().st_size == size


def test_releases_are_counted_and_dated(site: Machines, layers: Digests, first: Document) -> None:
    second = release_of(site, layers, "--date", "2026-11-22")
    third = release_of(site, layers, "--date", "2026-11-23", "--counter", "9")

    names = [(one["counter"], one["name"]) for one in (first, second, third)]
    assert names == [(1, "2026.11.22-1"), (2, "2026.11.22-2"), (9, "2026.11.23-1")]
    with pytest.raises(AssertionError, match="counter 9: the depot has 9 already"):
        release_of(site, layers, "--counter", "9")


def test_a_release_of_a_layer_that_is_not_there_is_refused(site: Machines, layers: Digests) -> None:
    with pytest.raises(AssertionError, match="holds no manifests/ffff"):
        release_of(site, Digests(env="f" * 64, app=layers.app, model=layers.model))
    with pytest.raises(AssertionError, match="is a layer of kind app"):
        release_of(site, Digests(env=layers.app, app=layers.app, model=layers.model))


def test_a_delta_is_small_and_makes_the_same_tree(
    site: Machines,
    layers: Digests,
    first: Document,
    tmp_path: Path,
) -> None:
    site.unpack(first["digest"])
    newer = dict(TOOL) | {"demo_tool/__init__.py": b"def main():\n    print('two')\n"}
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "demo_tool", "2.0", newer, {"demo-tool": "demo_tool:main"})
    prefix = site.conda_prefix(tmp_path / "prefix")
    pip_install(prefix, "--find-links", str(wheels), "demo-tool")
    env = site.build("pack", prefix, "--depot", site.depot)["digest"]

    delta = site.build("delta", env, "--base", layers.env, "--depot", site.depot)
    release = release_of(site, Digests(env, layers.app, layers.model), "--counter", "20")
    for whole in whole_archives(site, env):
        (site.depot / "archives" / whole.name).unlink()
    unpacked = site.unpack(release["digest"])

    assert delta["share"] < 0.1
    assert unpacked["fetched"] < 2 * delta["size"] + 1_000_000
    tree = site.root / "env" / env
    assert "two" in (tree / SITE_PACKAGES / "demo_tool" / "__init__.py").read_text()
    assert start(site, release["digest"], MAPPED)["value"] == 1


def whole_archives(site: Machines, digest: str) -> list[Archive]:
    document = json.loads((site.depot / "layers" / f"{digest}.json").read_text())
    archives = [Archive(**one) for one in document["archives"]]
    return [one for one in archives if one.base is None]


def test_a_delta_between_kinds_of_layers_is_refused(site: Machines, layers: Digests) -> None:
    with pytest.raises(AssertionError, match="two environments or two applications"):
        site.build("delta", layers.env, "--base", layers.app, "--depot", site.depot)


def test_a_wheel_packed_twice_is_one_application(
    site: Machines, layers: Digests, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path, "application", "1.0", {"application/__init__.py": b"VALUE = 1\n"})

    again = site.build("app", "--wheel", wheel, "--depot", tmp_path / "depot")

    assert again["digest"] == layers.app
    assert {path.name.partition(".")[2] for path in (tmp_path / "depot/archives").iterdir()} == {
        "tar.zst",
        "tar.gz",
    }
