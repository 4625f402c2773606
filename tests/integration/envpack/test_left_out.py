"""What is left out of an environment, and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from envpack.pack.collect import collect
from envpack.pack.errors import NotPackable
from envpack.pack.exclude import RULES, without_ballast
from envpack.pack.layers import Packed
from tests.conda_prefix import (
    SITE_PACKAGES,
)


def test_what_is_left_out_is_told_with_its_reason(packed: Packed) -> None:
    savings = {saving.rule: saving for saving in packed.savings}
    paths = {record.path for record in packed.manifest.files}

    assert savings["tests"].files >= 2
    assert savings["installers"].bytes > 1_000_000
    assert all(saving.reason for saving in packed.savings)
    assert f"{SITE_PACKAGES}/demo_tool/tests/test_tool.py" not in paths
    assert f"{SITE_PACKAGES}/demo_tool/data.txt" in paths


def test_a_rule_can_be_set_aside_by_name(conda_prefix: Path) -> None:
    collected = collect(conda_prefix)
    path = f"{SITE_PACKAGES}/demo_tool/tests/test_tool.py"

    assert path in {one.path for one in without_ballast(collected.files, (), ["tests"]).files}
    with pytest.raises(NotPackable, match=r"no rule to set aside: bytecode.*tests"):
        without_ballast(collected.files, (), ["bytecode"])


def test_record_tells_of_what_is_packed(tree: Path) -> None:
    (record,) = (tree / SITE_PACKAGES).glob("demo_tool-*.dist-info/RECORD")
    rows = {line.split(",")[0]: line.split(",")[1:] for line in record.read_text().splitlines()}

    assert "../../../bin/demo-tool" in rows
    assert not any("tests/" in path or path.endswith(".pyc") for path in rows)
    for path, (digest, size) in rows.items():
        if digest:
            data = (tree / SITE_PACKAGES / path).read_bytes()
            assert len(data) == int(size)
            assert digest.startswith("sha256=")


def test_rules_match_nothing_of_licences() -> None:
    licence = f"{SITE_PACKAGES}/torch-2.dist-info/licenses/third_party/x/tests/LICENSE"

    assert [rule.name for rule in RULES if rule.pattern.match(licence)] == []
    assert [rule.name for rule in RULES if rule.pattern.match("share/doc/x/COPYING")] == []
