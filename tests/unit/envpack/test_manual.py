"""What docs/envpack.md says of tests is true."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
#: By the mark behind a test's name.
FOLDERS = {"": "tests/integration/envpack", "¹": "tests/unit/envpack/node"}


def test_each_trap_of_the_manual_is_held_by_a_test_that_exists() -> None:
    section = (ROOT / "docs/envpack.md").read_text("utf-8").split("### conda-pack's traps")[1]
    table = section.split("\n## ")[0].partition("| trap |")[2]
    named_there = set(re.findall(r"`(test_\w+)`(¹?)", table))
    code = {
        mark: "".join(path.read_text("utf-8") for path in (ROOT / folder).glob("test_*.py"))
        for mark, folder in FOLDERS.items()
    }

    assert len(named_there) > 20
    assert {name for name, mark in named_there if f"def {name}(" not in code[mark]} == set()
