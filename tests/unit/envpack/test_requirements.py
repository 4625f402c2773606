"""An application is released only with an environment that has what it asks for."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from envpack.node.errors import InvalidManifest
from envpack.node.model import Manifest
from envpack.pack.depot import DepotFolder
from envpack.pack.project import application_facts
from envpack.pack.release import Layers, Origin, make_release
from envpack.pack.requirements import unmet
from envpack.pack.sign import make_key

ENVIRONMENT: dict[str, Any] = {
    "python": "3.11.7",
    "packages": [
        {"kind": "conda", "name": "openssl", "version": "3.5.0"},
        {"kind": "conda", "name": "pillow", "version": "13.0", "python": "pillow 13.0.1"},
        {"kind": "pypi", "name": "psycopg-binary", "version": "3.3.9"},
        {"kind": "pypi", "name": "torch", "version": "2.13.0+cpu"},
        {"kind": "pypi", "name": "celery", "version": "5.7.0rc1"},
    ],
}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Pillow>=13.0.1", ""),  # conda brought it
        ("psycopg_binary", ""),
        ("torch<2.15,>=2.11; extra == 'worker'", ""),
        ("celery[redis]<5.8", ""),
        ("tomli; python_version < '3.11'", ""),
        ("uvicorn; extra == 'api'", ""),  # workers do without
        ("openssl", "openssl is not in it"),  # no Python package
        ("torch>=2.14", "torch>=2.14 is 2.13.0+cpu"),
        ("diffusers>=0.42; extra == 'worker'", "diffusers>=0.42 is not in it"),
        ("backports; python_version >= '3.11'", "backports is not in it"),
    ],
)
def test_a_requirement_is_met_or_said(line: str, said: str) -> None:
    assert unmet([line], ENVIRONMENT) == ([said] if said else [])


def test_what_it_does_without_is_not_asked_for() -> None:
    assert unmet(["torch_Vision<0.30", "gone"], ENVIRONMENT, ["torch-vision"]) == [
        "gone is not in it"
    ]


def test_a_line_that_is_no_requirement_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="requires '!!'"):
        unmet(["!!"], ENVIRONMENT)


def test_a_wheel_says_what_it_requires_and_which_modules_start_it(tmp_path: Path) -> None:
    wheel = tmp_path / "packshot-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        lines = "Requires-Dist: torch>=2.11; extra == 'worker'\nRequires-Dist: click>=8.5\n"
        archive.writestr("packshot-1.0.dist-info/METADATA", f"Name: packshot\n{lines}\nbody\n")
        archive.writestr("worker/cli.py", "")
        archive.writestr("worker/engine/diffusers/engine.py", "")

    assert application_facts(wheel) == {
        "name": "packshot",
        "version": "1.0",
        "requires": ["click>=8.5", "torch>=2.11; extra == 'worker'"],
        "imports": ["worker.cli", "worker.engine.diffusers.engine"],
    }


def test_an_application_is_not_released_with_an_environment_that_does_not_serve_it(
    tmp_path: Path,
) -> None:
    depot = DepotFolder(tmp_path / "depot")
    facts = {"env": ENVIRONMENT, "app": {"requires": ["gone>=1", "torch>=2"]}, "model": {}}
    digests = {}
    for kind, said in facts.items():
        digests[kind] = depot.put_manifest(Manifest(layer=kind, files=(), facts=said))
        depot.add_archives(kind, digests[kind])
    key = make_key(tmp_path / "key", tmp_path / "key.pub")
    origin = Origin(git_commit="c" * 40, day=date(2026, 11, 22))

    layers = Layers(env=digests["env"], app=digests["app"], model=digests["model"])

    with pytest.raises(InvalidManifest, match=r"env [0-9a-f]{12} has not: gone>=1 is not in it"):
        make_release(depot, layers, origin, key)

    assert depot.releases() == []
    assert make_release(depot, replace(layers, without=("gone",)), origin, key).counter == 1
