"""Removes read-only trees."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


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
