"""Which of a model's profiles a worker can serve: what was asked for, or what there is."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from jobs.errors import BadSettings
from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.placement import Placement
from worker.engine.diffusers.profiles import LORA_FOLDER, Load, Precision, Profile

log = logging.getLogger(__name__)

_WAY_ROUND: Final = "set PACKSHOT_COMPILED=false and have edits take up to a third longer"


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """One load and the profiles that it serves."""

    load: Load
    profiles: tuple[Profile, ...]

    def uncompiled(self) -> Offer:
        return replace(self, load=replace(self.load, compiled=False))


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def offered(
    row: ModelRow,
    folder: Path,
    asked: Sequence[str] = (),
    *,
    installed: Callable[[str], bool] = is_installed,
) -> Offer:
    """The profiles to serve from ``folder``.

    Without ``asked``: all that share the first profile's load; of the others the log says why
    not.  Raises ``BadSettings`` when one that was asked for is unknown, lacks a file or a
    package, or needs another load than the rest.
    """
    if asked:
        return _as_asked(row, folder, asked, installed)
    load = row.profiles[0].load
    chosen = tuple(profile for profile in row.profiles if profile.load == load)
    _refuse_missing(row, folder, chosen, installed)
    for profile in row.profiles:
        if profile not in chosen:
            missing = _missing(profile, folder, installed)
            why = f"lacks {', '.join(missing)}" if missing else "another load: ask for it by name"
            log.info("profile_left_out", extra={"profile": profile.name, "why": why})
    return Offer(load=load, profiles=chosen)


def _as_asked(
    row: ModelRow, folder: Path, asked: Sequence[str], installed: Callable[[str], bool]
) -> Offer:
    known = {profile.name: profile for profile in row.profiles}
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise BadSettings(
            f"PACKSHOT_PROFILES: {row.name} has {', '.join(known)}, not {', '.join(unknown)}"
        )
    chosen = tuple(known[name] for name in known if name in asked)
    _refuse_missing(row, folder, chosen, installed)
    groups = sorted({profile.load.group for profile in chosen})
    if len(groups) > 1:
        raise BadSettings(
            f"PACKSHOT_PROFILES: {', '.join(asked)} need {len(groups)} loads of the weights"
            f" ({', '.join(groups)}): run a worker for each"
        )
    return Offer(load=chosen[0].load, profiles=chosen)


def _refuse_missing(
    row: ModelRow, folder: Path, chosen: Sequence[Profile], installed: Callable[[str], bool]
) -> None:
    missing = [
        f"{profile.name} lacks {what}"
        for profile in chosen
        for what in _missing(profile, folder, installed)
    ]
    if missing:
        raise BadSettings(f"profiles of {row.name} in {folder}: {'; '.join(missing)}")


def _missing(profile: Profile, folder: Path, installed: Callable[[str], bool]) -> list[str]:
    """Files and packages that a profile needs and that are not there."""
    load, missing = profile.load, []
    if load.lora is not None and not (folder / LORA_FOLDER / load.lora).is_file():
        missing.append(f"the file {LORA_FOLDER}/{load.lora}")
    if load.precision is Precision.FP8 and not installed("torchao"):
        missing.append("the package torchao")
    return missing


def is_to_compile(load: Load, placement: Placement, device: str) -> bool:
    """Where blocks stay on a GPU: beside copying them, computing is a trifle."""
    return load.compiled and placement is Placement.RESIDENT and device != "cpu"


def check_compiler(offer: Offer, *, installed: Callable[[str], bool] = is_installed) -> None:
    """Raises ``BadSettings`` with all that compiling for a GPU lacks here.

    Else warm-up would find out, in triton's words (whose runtime/build.py looks for these).
    """
    lacking = []
    if not installed("triton"):
        lacking.append("the package triton (torch's build for CUDA brings it)")
    named = _named_compiler()
    compilers = ["gcc", "clang"] if named is None else [named]
    if not any(shutil.which(one) for one in compilers):
        lacking.append(f"a C compiler ({' or '.join(compilers)})")
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").is_file():
        lacking.append(f"Python's headers ({headers}/Python.h)")
    if lacking:
        names = ", ".join(profile.name for profile in offer.profiles)
        raise BadSettings(
            f"profiles {names} are compiled at start, which lacks {', '.join(lacking)}: install it,"
            f" or {_WAY_ROUND}"
        )


def cannot_compile(why: str) -> BadSettings:
    return BadSettings(f"{why}: {_WAY_ROUND}")


def name_compiler() -> None:
    """Tell triton of this environment's own compiler, which need not be on its Python's PATH."""
    if named := _named_compiler():
        os.environ["CC"] = named  # noqa: TID251 - triton's setting, not ours


def _named_compiler() -> str | None:
    asked = os.environ.get("CC")  # noqa: TID251 - as above
    return asked if asked is not None else shutil.which("gcc", path=str(Path(sys.prefix, "bin")))


def accept_licence(row: ModelRow, accepted: Sequence[str]) -> None:
    """Raises ``BadSettings`` for a limited licence that nobody has said to have read."""
    if row.licence_is_limited and row.name not in accepted:
        raise BadSettings(
            f"{row.name} is under the {row.licence}: read it, and put the model's name into"
            " PACKSHOT_LICENCES if your use is allowed"
        )
