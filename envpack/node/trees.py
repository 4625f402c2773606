"""Puts trees in their place and removes them, read-only as they are."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE
_ASIDE = ".aside"


@contextmanager
def put(draft: Path, place: Path) -> Iterator[None]:
    """``draft`` stands at ``place`` from now on, and what stood there is removed at the end.

    All as it was, without the draft, if what is done meanwhile raises.
    """
    replaces = os.path.lexists(place)
    _exchange(draft, place) if replaces else draft.rename(place)
    try:
        yield
    except BaseException:
        _exchange(draft, place) if replaces else place.rename(draft)
        raise
    finally:
        remove(draft)


def _exchange(one: Path, other: Path) -> None:
    """Each takes the other's name, with nothing in between where the file system can."""
    if not _exchanged(os.fsencode(one), os.fsencode(other)):
        aside = one.with_name(one.name + _ASIDE)
        remove(aside)
        other.rename(aside)
        one.rename(other)
        aside.rename(one)


def undo_half(left: Path) -> None:
    """What was killed between its renames: if ``left`` stood at a place, it stands there again."""
    name = left.name[1 : -len(_ASIDE)]
    if name and left.name.endswith(_ASIDE) and not os.path.lexists(left.with_name(name)):
        left.rename(left.with_name(name))


def _exchanged(one: bytes, other: bytes) -> bool:
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):  # glibc before 2.28
        return False
    return bool(rename(_HERE, one, _HERE, other, _EXCHANGE) == 0)


def remove(tree: Path) -> None:
    """All of it, although nobody may write there; nothing if it does not exist."""
    if tree.is_symlink() or not tree.is_dir():
        tree.unlink(missing_ok=True)
        return
    tree.chmod(0o755)
    for folder, below, _ in os.walk(tree):
        for name in below:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755)
    shutil.rmtree(tree)
