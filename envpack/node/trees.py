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
        aside = _aside(one)
        remove(aside)
        other.rename(aside)
        one.rename(other)
        aside.rename(one)


def undo_half(draft: Path, place: Path) -> None:
    """What was killed between its renames: what stood at ``place`` stands there again."""
    if _aside(draft).exists() and not place.exists():
        _aside(draft).rename(place)


def _aside(draft: Path) -> Path:
    return draft.with_name(f"{draft.name}.aside")


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
