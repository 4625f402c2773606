"""The spec of the worker's environment, and the lock that a build follows."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from envpack.node.errors import InvalidManifest, NotThere
from envpack.pack import lock, spec
from envpack.pack.lock import CondaPackage, Lock, Wheel
from envpack.pack.spec import Spec

ROOT = Path(__file__).parents[3]
CONDA = "https://conda.example/forge/linux-64/openssl-3.5.0-h1_0.conda"
SPEC = Spec(
    name="edge",
    variant="cpu",
    platform="linux-64",
    python="3.11",
    channels=("conda-forge",),
    conda=("python 3.11.*",),
    wheels=("torch>=2",),
)
PYTHON = CondaPackage(
    url="https://conda.example/forge/linux-64/python-3.11.7-0_cpython.conda", sha256="b" * 64
)
WHEEL = Wheel(name="torch", version="2.14.1", file="torch-2.14.1-cp311-x.whl", sha256="c" * 64)


def locked(**changes: object) -> Lock:
    one = Lock(spec=SPEC.digest, platform="linux-64", conda=(PYTHON,), wheels=(WHEEL,))
    return replace(one, **changes)  # type: ignore[arg-type]


def asked(names: list[str]) -> dict[str, tuple[str, frozenset[str]]]:
    read = map(Requirement, names)
    return {one.name: (str(one.specifier), frozenset(one.extras)) for one in read}


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_the_worker_is_given_what_the_project_asks_for(variant: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    ours = project["dependencies"] + extras["worker"] + (extras["fp8"] if variant == "gpu" else [])

    wheels = asked(list(spec.read(spec.WORKER, variant).wheels))

    assert {name: wheels.get(name) for name in asked(ours)} == asked(ours)
    assert set(wheels) - set(asked(ours)) == {"nvidia-ml-py"}


def test_only_the_variant_with_cuda_needs_a_driver() -> None:
    assert spec.read(spec.WORKER, "gpu").minimum_driver == "580.65.06"
    assert spec.read(spec.WORKER, "cpu").minimum_driver == ""


def test_an_unknown_variant_is_answered_with_those_that_are() -> None:
    with pytest.raises(NotThere, match=r"tpu.*there are: cpu, gpu"):
        spec.read(spec.WORKER, "tpu")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ('name = "a"', "not said: channels, conda"),
        ("name = [", "Invalid"),
        ("extra = 1", "unknown: extra"),
        ('wheels = ["--index-url=http://evil"]', "wheels: a list of texts"),
        ('conda = ["openssl"]', "python among conda"),
        ('platform = "win-64"', "platform: one of linux-64"),
        ('python = "three"', "python: not like"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused_by_name(
    tmp_path: Path, changed: str, said: str
) -> None:
    fields = {
        "name": '"a"',
        "platform": '"linux-64"',
        "python": '"3.11"',
        "channels": '["conda-forge"]',
        "conda": '["python 3.11.*"]',
        "wheels": "[]",
    }
    key, _, value = changed.partition(" = ")
    lines = [changed] if changed == 'name = "a"' else []
    lines = lines or [f"{one} = {text}" for one, text in (fields | {key: value}).items()]
    path = tmp_path / "spec.toml"
    path.write_text("\n".join([*lines, "[variants.cpu]"]), "utf-8")

    with pytest.raises(InvalidManifest, match=f"spec.toml.*{said}"):
        spec.read(path, "cpu")


def test_a_lock_is_written_in_one_order_and_read_back(tmp_path: Path) -> None:
    other = CondaPackage(url=CONDA, sha256="a" * 64)
    one, two = tmp_path / "one.json", tmp_path / "two.json"

    lock.write(one, locked(conda=(PYTHON, other)))
    lock.write(two, locked(conda=(other, PYTHON)))

    assert one.read_bytes() == two.read_bytes()
    assert lock.read(one, SPEC).conda == (other, PYTHON)


def test_a_lock_of_a_changed_spec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    lock.write(path, locked())

    with pytest.raises(InvalidManifest, match="of another spec"):
        lock.read(path, replace(SPEC, wheels=("torch>=3",)))


def test_a_mirror_does_not_change_what_a_lock_is_of(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    lock.write(path, locked())

    assert lock.read(path, replace(SPEC, channels=("https://mirror.example/forge",))) == locked()


@pytest.mark.parametrize(
    "changes",
    [
        {"conda": []},
        {"spec": "x"},
        {"conda": [{"url": CONDA, "sha256": "short"}]},
        {"conda": [{"url": "ftp://a/linux-64/a-1-0.conda", "sha256": "a" * 64}]},
        {"conda": [{"url": "https://me:word@a/linux-64/a-1-0.conda", "sha256": "a" * 64}]},
        {"conda": [{"url": "https://a/linux-64/a.zip", "sha256": "a" * 64}]},
        {"wheels": [{"name": "a", "version": "1", "file": "a.tar.gz", "sha256": "a" * 64}]},
        {"wheels": None},
    ],
)
def test_a_lock_without_a_digest_or_a_place_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidManifest):
        Lock.from_json({**locked().as_json(), **changes})


def test_one_name_stands_in_a_lock_once() -> None:
    twice = replace(PYTHON, url=PYTHON.url.replace("3.11.7", "3.12.0"))

    with pytest.raises(InvalidManifest, match="more than once: python"):
        locked(conda=(PYTHON, twice))


def test_without_a_lock_the_answer_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="build --lock"):
        lock.read(tmp_path / "lock.json", SPEC)


def test_a_lock_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text(json.dumps({})[:1])

    with pytest.raises(InvalidManifest, match="not JSON"):
        lock.read(tmp_path / "lock.json", SPEC)
