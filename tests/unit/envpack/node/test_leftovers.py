"""What a killed run has left: what stood there before stands there again, the rest goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from envpack.node.activate import activate
from envpack.node.host import Host
from envpack.node.plan import Wishes
from envpack.node.prune import prune
from envpack.node.unpack import unpack
from tests.envpack_depot import TestDepot
from tests.unit.envpack.node.scenes import names, releases, started, trusted


def half_exchanged(place: Path) -> None:
    """As it is before the second of three renames."""
    shutil.copytree(place, place.with_name(f".{place.name}"), symlinks=True)
    place.rename(place.with_name(f".{place.name}.aside"))


def unpacks(host: Host, depot: TestDepot, release: str) -> None:
    unpack(host, trusted(depot), release, Wishes(allow_older=True))


def unpacks_again(host: Host, depot: TestDepot, release: str) -> None:
    unpack(host, trusted(depot), release, Wishes(allow_older=True, again=True))


def prunes(host: Host, depot: TestDepot, release: str) -> None:  # noqa: ARG001 - as the others
    prune(host, keep=0)


@pytest.mark.parametrize("name", [".keep", ".aside", ".nfs00c1", f".{'a' * 64}.json.draft"])
def test_whatever_else_begins_with_a_dot_goes(host: Host, depot: TestDepot, name: str) -> None:
    (release,) = releases(host, depot, 1)
    for folder in ("env", "releases"):
        (host.root / folder / name).touch()

    unpacks(host, depot, release)

    assert not [path for path in host.root.glob("*/.*") if path.name == name]


@pytest.mark.parametrize("kind", ["env", "app", "releases"])
@pytest.mark.parametrize("runs", [unpacks, unpacks_again, prunes])
@pytest.mark.parametrize("which", [0, 1])
def test_what_stands_aside_returns_whatever_is_run_next(
    host: Host,
    depot: TestDepot,
    kind: str,
    runs: Callable[[Host, TestDepot, str], None],
    which: int,
) -> None:
    made = releases(host, depot, 2)
    for digest in made:
        activate(host, digest)
    release = host.release(made[1])
    folder = host.release_folder(made[1])
    place = folder if kind == "releases" else host.layer(kind, getattr(release, kind))
    half_exchanged(place)

    runs(host, depot, made[which])

    assert f"PACKSHOT_RELEASE={made[1]}\n" in started(host, made[1])
    assert not [name for name in names(place.parent) if name.startswith(".")]
