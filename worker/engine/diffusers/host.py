"""The host's memory: what is left of it, and what a placement takes there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from jobs.errors import BadSettings
from worker.engine.diffusers.placement import GIB, Placement
from worker.engine.diffusers.precision import bytes_of

MEMORY: Final = Path("/proc/meminfo")
SHARE: Final = Path("/sys/fs/cgroup/memory.max")
PROCESS: Final = Path("/proc/self/status")
#: Left for everything else beside weights that cannot be taken back, in GiB; as much as they take
#: is enough.
MARGIN: Final = 8.0
BF16: Final = 2  #: bytes


def gib_available() -> float:
    """Of the host's memory, or of the container's share; no limit where nothing says one."""
    left = [float("inf")]
    if MEMORY.is_file():
        left.append(_numbers(MEMORY)["MemAvailable:"] * 1024)
    if SHARE.is_file() and (most := SHARE.read_text(encoding="ascii").strip()) != "max":
        used = _numbers(SHARE.with_name("memory.stat"))
        left.append(float(most) - used["anon"] - used["shmem"])
    return min(left) / GIB


def gib_of(pipeline: Any, placement: Placement) -> float:  # noqa: ANN401 - untyped library
    """That a pipeline's weights take."""
    return _gib([bytes_of(tensor) for tensor in _tensors_of(pipeline)], placement)


def check_room(folder: Path, parts: Iterable[str], placement: Placement) -> None:
    """Before weights are read that the host cannot hold, and the kernel ends the process.

    Raises ``BadSettings``.
    """
    if placement is Placement.RESIDENT:
        return
    try:
        sizes = [size for part in parts for size in _sizes_in(folder / part)]
    except SafetensorError:
        return  # a file that was cut off: loading names it
    needed, left = _gib(sizes, placement), gib_available()
    if needed > left:
        raise BadSettings(
            f"{placement.value} takes {needed:.1f} GiB of the host's memory for the weights, and"
            f" {left:.1f} are available: free some, take a larger host, or a card that holds more"
            " of the model (PACKSHOT_PLACEMENT)"
        )


def _sizes_in(part: Path) -> Iterator[int]:
    """Bytes of each weight as a GPU's engine reads it."""
    for file in sorted(part.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - no mapping
                yield BF16 * math.prod(weights.get_slice(name).get_shape())


def _gib(sizes: Sequence[int], placement: Placement) -> float:
    """None, once as they are, or locked: torch does so in powers of two."""
    match placement:
        case Placement.RESIDENT:
            return 0.0
        case Placement.MODEL_OFFLOAD:
            return sum(sizes) / GIB
        case Placement.GROUP_OFFLOAD:
            return sum(1 << (size - 1).bit_length() for size in sizes if size) / GIB


def has_room_to_lock(pipeline: Any) -> bool:  # noqa: ANN401
    """What weights hold already is counted as held only if it is memory of this process.

    As loading leaves them they are mapped from their files, which the system counts as available.
    """
    locked, once = (
        gib_of(pipeline, one) for one in (Placement.GROUP_OFFLOAD, Placement.MODEL_OFFLOAD)
    )
    own = _numbers(PROCESS).get("RssAnon:", 0) * 1024 / GIB  # some sandboxes do not tell it
    return gib_available() >= locked - min(own, once) + MARGIN


def gib_more(pipeline: Any, now: Placement, then: Placement) -> float:  # noqa: ANN401
    """That a change of placement takes.  What is locked for one offload is so for the other."""
    if now is Placement.RESIDENT:
        return gib_of(pipeline, then)
    sizes = [bytes_of(tensor) for tensor in _tensors_of(pipeline) if not tensor.is_pinned()]
    return _gib(sizes, then) - _gib(sizes, now)


def gib_lacking(more: float) -> float:
    """What the host has too little of for so much more, and for all that is beside weights.

    By the rule of ``has_room_to_lock``: a second try locks only what a start would have locked.
    """
    return max(more + min(MARGIN, more) - gib_available(), 0.0)


def gib_locked(pipeline: Any) -> float:  # noqa: ANN401
    """Of weights, without what powers of two add."""
    return sum(bytes_of(tensor) for tensor in _tensors_of(pipeline) if tensor.is_pinned()) / GIB


def parts_of(pipeline: Any) -> dict[str, torch.nn.Module]:  # noqa: ANN401
    """Those that have weights, by name."""
    return {
        name: part
        for name, part in pipeline.components.items()
        if isinstance(part, torch.nn.Module)
    }


def _tensors_of(pipeline: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401
    for part in parts_of(pipeline).values():
        yield from part.parameters()
        yield from part.buffers()


def _numbers(file: Path) -> dict[str, int]:
    """The first number of each line, by the word before it."""
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
