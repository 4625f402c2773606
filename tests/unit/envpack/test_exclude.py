"""What stays in an environment, whatever the rules leave out."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from envpack.pack.exclude import RULES
from tests.conda_prefix import SITE_PACKAGES


def test_headers_that_inductor_includes_stay() -> None:
    torch = find_spec("torch")
    assert torch is not None
    assert torch.origin is not None
    root = Path(torch.origin).parent
    reached = _included(root / "include/torch/csrc/inductor/cpp_prefix.h", root / "include")

    assert len(reached) > 50
    for header in reached:
        path = f"{SITE_PACKAGES}/torch/{header.relative_to(root)}"
        assert not [rule.name for rule in RULES if rule.pattern.match(path)], path


def _included(header: Path, root: Path) -> set[Path]:
    """With all that they include in turn, whatever the conditions."""
    found, waiting = set[Path](), [header]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            names = re.findall(r"#\s*include\s*[<\"]([^>\"]+)", one.read_text("utf-8"))
            waiting += [root / name for name in names if (root / name).is_file()]
    return found
