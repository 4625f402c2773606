"""docs/engine.md names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from worker.engine.diffusers.models import MODELS

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")


def test_every_test_that_it_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    tests = "\n".join(file.read_text("utf-8") for file in (ROOT / "tests").rglob("*.py"))

    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_every_trap_names_a_test_or_says_why_not() -> None:
    traps = PAGE.partition("## Traps")[2].partition("## Models")[0]
    rows = [line for line in traps.splitlines() if line.startswith("|")][2:]

    assert len(rows) > 20
    assert [row for row in rows if "`test_" not in row and "none: " not in row] == []


def test_every_model_and_profile_has_its_line() -> None:
    for row in MODELS.values():
        assert f"| `{row.name}` | " in PAGE
        for profile in row.profiles:
            assert f"| `{profile.name}` | " in PAGE
