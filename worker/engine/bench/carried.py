"""Packages that came along as wheels, for a machine without network that lacks them.

Wheels of pure Python only, unpacked side by side: nothing is compiled, installed or changed,
and what the machine has comes first.
"""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path
from typing import Final

NEEDED: Final = ("torch", "torchvision", "numpy", "PIL", "accelerate", "transformers", "diffusers")
WHEELS: Final = Path("build/wheels")
UNPACKED: Final = Path("build/bench/site")


def missing() -> tuple[str, ...]:
    return tuple(name for name in NEEDED if importlib.util.find_spec(name) is None)


def add_carried(wheels: Path = WHEELS, unpacked: Path = UNPACKED) -> tuple[str, ...]:
    """Unpack every wheel that was not yet, put them on the path, and say which they are."""
    names = []
    for wheel in sorted(wheels.glob("*-none-any.whl")):
        place = unpacked / wheel.stem
        if not place.is_dir():
            draft = place.with_suffix(".draft")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(draft)
            draft.rename(place)
        sys.path.append(str(place.resolve()))
        names.append(wheel.stem)
    importlib.invalidate_caches()
    return tuple(names)
