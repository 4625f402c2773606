"""Packages that came along as wheels, for a machine without network that lacks them.

Unpacked side by side: nothing is compiled, installed or changed, and what the machine has comes
first.  A wheel for another Python or another kind of machine is left where it is.
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
    """Unpack every wheel that was not yet and fits, put them on the path, say which they are."""
    names = []
    for wheel in filter(_fits, sorted(wheels.glob("*.whl"))):
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


def _fits(wheel: Path) -> bool:
    """Whether this Python on this machine can import what is in it."""
    if wheel.name.endswith("-none-any.whl"):
        return True
    from packaging.tags import sys_tags  # noqa: PLC0415 - comes with transformers
    from packaging.utils import parse_wheel_filename  # noqa: PLC0415

    *_, tags = parse_wheel_filename(wheel.name)
    return not tags.isdisjoint(sys_tags())
