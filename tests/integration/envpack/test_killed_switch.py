"""A switch that is killed has happened or has not: what runs and where a rollback goes agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envpack.node.activate import activate, roll_back
from envpack.node.host import Host
from envpack.node.prune import prune
from envpack.pack.node_file import node_file
from tests.envpack_depot import TestDepot
from tests.integration.envpack.killing import killed_before_each_change
from tests.unit.envpack.node.scenes import releases


class Scene:
    """Three releases; the second is current and the first is previous."""

    def __init__(self, folder: Path) -> None:
        self.host = Host(folder / "root")
        self.first, self.second, self.third = releases(self.host, TestDepot(folder / "depot"), 3)
        self.node = folder / "node.pyz"
        self.node.write_bytes(node_file())

    def words(self, *command: str) -> Callable[[], list[str]]:
        def prepared() -> list[str]:
            for digest in (self.first, self.second):
                activate(self.host, digest, allow_older=True)
            return [*command, "--root", str(self.host.root)]

        return prepared

    @property
    def named(self) -> tuple[str | None, str | None]:
        return self.host.linked("current"), self.host.linked("previous")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_killed_rollback_has_happened_or_not(scene: Scene) -> None:
    seen = set()

    def check() -> None:
        seen.add(scene.named)
        prune(scene.host, keep=0)
        now, other = scene.named
        assert roll_back(scene.host).release.digest == other
        assert scene.named == (other, now)

    kills = killed_before_each_change(scene.node, scene.words("rollback"), check)

    assert kills > 3
    assert seen == {(scene.second, scene.first), (scene.first, scene.second)}
    assert scene.named == (scene.first, scene.second)


def test_a_killed_activation_has_happened_or_not(scene: Scene) -> None:
    seen = set()

    def check() -> None:
        seen.add(scene.named)
        assert roll_back(scene.host).release.digest in {scene.first, scene.second}

    words = scene.words("activate", scene.third, "--unchecked", "--allow-older")
    kills = killed_before_each_change(scene.node, words, check)

    assert kills > 3
    assert seen == {(scene.second, scene.first), (scene.third, scene.second)}
    assert scene.named == (scene.third, scene.second)
