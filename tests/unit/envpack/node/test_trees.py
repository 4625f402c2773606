"""A tree is put in its place whole, or what stood there stands there still."""

from __future__ import annotations

from pathlib import Path

import pytest

from envpack.node import trees


@pytest.fixture(params=["renameat2", "three renames"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems, and glibc before 2.28, cannot exchange two names at once."""
    if request.param == "three renames":
        monkeypatch.setattr(trees, "_exchanged", lambda *_: False)


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    return tree(tmp_path / ".layer", "new")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "layer"


def tree(folder: Path, content: str) -> Path:
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").write_text(content)
    (folder / "below").chmod(0o555)
    folder.chmod(0o555)
    return folder


def content(folder: Path) -> str:
    return (folder / "below" / "file").read_text()


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_a_draft_takes_an_empty_place(draft: Path, place: Path) -> None:
    with trees.put(draft, place):
        assert content(place) == "new"

    assert names(place.parent) == ["layer"]


def test_what_stood_there_stays_beside_it_until_all_is_well(draft: Path, place: Path) -> None:
    tree(place, "old")

    with trees.put(draft, place):
        assert (content(place), content(draft)) == ("new", "old")

    assert content(place) == "new"
    assert names(place.parent) == ["layer"]


def test_what_stood_there_returns_if_the_new_one_fails(draft: Path, place: Path) -> None:
    tree(place, "old")

    with pytest.raises(RuntimeError), trees.put(draft, place):
        raise RuntimeError("does not start")

    assert content(place) == "old"
    assert names(place.parent) == ["layer"]


def test_a_place_that_was_empty_is_empty_again_if_the_new_one_fails(
    draft: Path, place: Path
) -> None:
    with pytest.raises(RuntimeError), trees.put(draft, place):
        raise RuntimeError("does not start")

    assert names(place.parent) == []


def test_what_a_killed_exchange_left_aside_returns(draft: Path, place: Path) -> None:
    """Killed before its second rename of three."""
    trees.undo_half(tree(draft.with_name(".layer.aside"), "old"))

    assert content(place) == "old"


def test_what_a_later_exchange_finds_aside_is_in_nobody_s_way(draft: Path, place: Path) -> None:
    """Killed before its third: the old tree stands aside, or as the draft."""
    tree(place, "new already")
    trees.undo_half(tree(draft.with_name(".layer.aside"), "old"))
    with trees.put(draft, place):
        assert content(place) == "new"
