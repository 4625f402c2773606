"""The part of ``requirements.lock`` that a worker needs: what its environment is made of.

Which part that is, the running environment knows: it was made from the same lock.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK: Final = Path(__file__).parent.parent / "requirements.lock"
_PROJECT: Final = "packshot"


def worker_lines(*, without: Collection[str] = ()) -> list[str]:
    """The lock's lines, with their hashes, for ``packshot[worker]`` and what that needs.

    ``without``: packages that stay out, with what nobody else needs.
    """
    wanted = closure(Requirement(f"{_PROJECT}[worker]"), without) - {_PROJECT}
    found = {name: line for name, line in _lock() if name in wanted}
    assert not wanted - set(found), f"not in {LOCK.name}: {sorted(wanted - set(found))}"
    return [found[name] for name in sorted(found)]


def closure(root: Requirement, without: Collection[str] = ()) -> set[str]:
    """The names of all that a requirement brings here."""
    seen: dict[str, set[str]] = {}
    waiting = [root]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        news = ({""} | wanted.extras) - seen.get(name, set())
        if name in without or not news:
            continue
        seen.setdefault(name, set()).update(news)
        waiting += _needs(name, news)
    return set(seen)


def _needs(name: str, extras: Collection[str]) -> Iterator[Requirement]:
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError as fault:
        raise AssertionError(f"{name} is not installed here: make venv") from fault
    for line in lines:
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
            yield one


def _lock() -> Iterator[tuple[str, str]]:
    """Name and the whole entry, as pip reads it."""
    entries = re.split(r"\n(?=\S)", LOCK.read_text("utf-8"))
    for entry in entries:
        name, equals, _ = entry.partition("==")
        if equals and not name.startswith("#"):
            yield canonicalize_name(name), entry.strip()
