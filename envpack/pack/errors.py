"""What must not be packed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envpack.node.errors import EnvpackError

_NAMED: Final = 8  # of a long list of files


class NotPackable(EnvpackError):
    """Names the files and what to do with them."""

    exit_code = 65  # EX_DATAERR


def named(paths: Iterable[str]) -> str:
    """The first of a list of paths, and how many more there are."""
    found = sorted(paths)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
