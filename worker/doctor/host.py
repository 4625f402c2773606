"""This machine: the model's folder, the card, and the disk."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jobs.errors import BadSettings
from worker.bootstrap import load_engine
from worker.card.pinning import check_card
from worker.doctor.findings import Finding, Site, fine, problem, skipped, warning
from worker.engine.diffusers.models import ModelRow, model_row
from worker.engine.diffusers.offer import accept_licence, check_compiler, offered
from worker.engine.diffusers.placement import AUTO, Placement

GIB: Final = 2**30
#: Pictures of a few jobs, and logs.
LEAST_DISK: Final = 1 * GIB
#: A safetensors file begins with the length of its header, in this many bytes.
HEADER_LENGTH: Final = 8
#: A card that hangs may hang whoever asks about it: seconds.
ASK_TIMEOUT: Final = 20
QUERY: Final = "--query-gpu=name,driver_version,memory.free,memory.total"
FETCH_AGAIN: Final = "fetch the model again, and compare with its SHA256SUMS"


def model_is_whole(site: Site) -> Finding:
    """Without loading it: the right pipeline, every part, no file that was cut short."""
    settings = site.settings
    if settings.engine == "fake":
        return skipped("the fake engine has no weights")
    row, folder = model_row(settings.model), settings.weights
    accept_licence(row, settings.licence_names)
    wrong = list(_wrong(folder, row))
    if wrong:
        return problem("; ".join(wrong[:3]), FETCH_AGAIN)
    offer = offered(row, folder, settings.profile_names)  # raises, naming what is missing
    return fine(f"{row.name}: {', '.join(profile.name for profile in offer.profiles)}")


def compiler_is_there(site: Site) -> Finding:
    """Where the whole model will lie on a GPU; which ``auto`` decides by the card's free memory."""
    settings = site.settings
    if settings.engine == "fake" or settings.card.startswith("cpu"):
        return skipped("nothing is compiled without a GPU")
    offer = offered(model_row(settings.model), settings.weights, settings.profile_names)
    may_lie_whole = settings.placement in {AUTO, Placement.RESIDENT}
    if not (settings.compiled and offer.load.compiled and may_lie_whole):
        return skipped("nothing is to be compiled")
    try:
        check_compiler(offer)
    except BadSettings as error:
        if settings.placement == AUTO:
            return warning(str(error), "it is needed where the whole model fits on the card")
        raise
    return fine("there, with Python's headers and triton")


def engine_works(site: Site) -> Finding:
    """As a worker starts: load and run once."""
    if not site.deep:
        return skipped("asked for by --deep, as it takes as long as a worker's start")
    engine = load_engine(site.settings)
    try:
        engine.warm_up()
    finally:
        engine.close()
    return fine(f"{engine.model.name} {engine.model.revision} on {engine.card}")


def card_is_there(site: Site) -> Finding:
    card = site.settings.card
    check_card(card)
    if card.startswith("cpu"):
        return skipped(f"{card} is the processor")
    program = shutil.which("nvidia-smi")
    if program is None:
        return warning("nvidia-smi is not installed, so nobody was asked", "try --deep instead")
    command = [program, QUERY, "--format=csv,noheader", "-i", card]
    try:
        asked = subprocess.run(  # noqa: S603 - the card's name has been checked
            command, capture_output=True, text=True, check=False, timeout=ASK_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return problem(f"nvidia-smi hangs: {ASK_TIMEOUT} s", "the driver is stuck: reboot the host")
    said = (asked.stdout or asked.stderr).strip()
    if asked.returncode != 0 or not said:
        return problem(
            f"card {card}: {said or 'no such card'}", "see nvidia-smi -L for those there are"
        )
    return fine(said.splitlines()[0])


def disk_has_room(site: Site) -> Finding:
    places = {Path(tempfile.gettempdir()), _existing(site.settings.digests_dir)}
    free = {place: shutil.disk_usage(place).free for place in places}
    short = [place for place in places if free[place] < LEAST_DISK]
    told = ", ".join(f"{place}: {free[place] / GIB:.1f} GiB free" for place in sorted(places))
    if short:
        return problem(told, f"make room: {LEAST_DISK / GIB:.0f} GiB at least")
    return fine(told)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    try:
        path = folder.expanduser().absolute()
    except RuntimeError:  # an account may have no home
        path = Path(tempfile.gettempdir())
    return next(one for one in (path, *path.parents) if one.is_dir())


def _wrong(folder: Path, row: ModelRow) -> Iterator[str]:
    index = _json(folder / "model_index.json")
    if index is None:
        yield f"{folder} holds no model_index.json that can be read"
        return
    if index.get("_class_name") != row.pipeline:
        yield f"{folder} holds a {index.get('_class_name')}, and {row.name} is a {row.pipeline}"
    for part, value in index.items():
        if isinstance(value, list) and value[0] is not None:
            yield from _wrong_part(folder / part)
    config = _json(folder / "transformer" / "config.json") or {}
    for name, wanted in row.transformer.items():
        if config.get(name, False) != wanted:
            yield f"transformer/config.json: {name} is not {wanted}: not the weights of {row.name}"


def _wrong_part(part: Path) -> Iterator[str]:
    if not part.is_dir():
        yield f"{part.name} is missing"
        return
    for index in part.glob("*.safetensors.index.json"):
        shards = (_json(index) or {}).get("weight_map")
        named = set(shards.values()) if isinstance(shards, dict) else {"its weights"}
        yield from (
            f"{part.name}/{name} is missing" for name in named if not (part / name).is_file()
        )
    for weights in part.glob("*.safetensors"):
        if not _is_whole(weights):
            yield f"{part.name}/{weights.name} is cut short"


def _is_whole(weights: Path) -> bool:
    """By the length that a safetensors file tells of itself."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(HEADER_LENGTH), "little")
        if length > weights.stat().st_size:
            return False
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return False
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return weights.stat().st_size == HEADER_LENGTH + length + max(ends, default=0)


def _json(path: Path) -> dict[str, object] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
