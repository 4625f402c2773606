"""The table of guards stays true to the source; ``make mutation`` carries it out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation.guards import GUARDS, Edit, Guard

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "edit", [edit for guard in GUARDS for edit in guard.edits], ids=lambda edit: edit.text[:40]
)
def test_a_guard_s_text_stands_once_in_its_file(edit: Edit) -> None:
    text = (ROOT / edit.file).read_text()

    assert text.count(edit.text) == 1
    ast.parse(text.replace(edit.text, edit.instead))


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_s_test_exists(guard: Guard) -> None:
    name = guard.test.rpartition("::")[2].partition("[")[0]
    tests = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("*.py"))

    assert f"def {name}(" in tests
    assert (ROOT / guard.test.partition("::")[0]).is_file()


def test_no_guard_is_named_twice() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)
