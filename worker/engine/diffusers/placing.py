"""Putting a pipeline's parts where a ``Placement`` says, and taking them back.

On the CPU, both offloads run the library's same hooks, and gain nothing.  Streams and locked
memory are CUDA's alone.
"""

from __future__ import annotations

import gc
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from diffusers.hooks import HookRegistry, apply_group_offloading
from diffusers.hooks import group_offloading as library

from jobs.errors import BadSettings
from worker.engine.diffusers import host
from worker.engine.diffusers.placement import GIB, MIB, Placement, Room
from worker.engine.diffusers.precision import has_rounded
from worker.engine.diffusers.shelf import shelve, take_down

log = logging.getLogger(__name__)

#: The layers of a transformer that repeat: one of them at a time is on the card.
BLOCKS: Final = "transformer"
#: The library learns the order of layers, to copy ahead, while a part's ``forward`` runs.  The VAE
#: has its ``encode`` and ``decode`` called: the list would grow for ever, and nothing come of it.
UNSTREAMED: Final = "vae"


def room_on(device: str) -> Room | None:
    """Of the card's memory; ``None`` for the CPU."""
    if device == "cpu":
        return None
    free, total = torch.cuda.mem_get_info()
    return Room(free=free / GIB, total=total / GIB)


def forget_card_peak(device: str) -> None:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()


def card_peak_mib(device: str) -> dict[str, int]:
    """The most that tensors held on the card since ``forget_card_peak``; of a CPU, nothing."""
    if device == "cpu":
        return {}
    return {"card_peak_mib": round(torch.cuda.max_memory_allocated() / MIB)}


def free_unused() -> None:
    """What torch keeps for later, of the card and of locked host memory, back to the system.

    Raises ``RuntimeError`` where the card no longer answers.
    """
    gc.collect()
    if not torch.cuda.is_available():
        return
    torch.cuda.empty_cache()
    unlock = getattr(torch._C, "_host_emptyCache", None)  # noqa: SLF001 - newer ones have a name
    if unlock is not None:
        unlock()  # after a group-offload, 88 GiB


def place(
    pipeline: Any,  # noqa: ANN401
    placement: Placement,
    device: str,
    *,
    tell: Callable[[], None] = lambda: None,
    for_one_edit: bool = False,
) -> None:
    """From any placement to this one; what is there already is not moved.

    Raises ``BadSettings`` for a group-offload whose host locks no more memory.

    ``tell`` is called again and again meanwhile: it may take a minute or two.  It must not raise.
    ``for_one_edit`` leaves out what takes longer than it saves in one.
    """
    _unhook(pipeline)
    tell()
    match placement:
        case Placement.RESIDENT:
            _move(pipeline, device, tell)
        case Placement.MODEL_OFFLOAD:
            _move(pipeline, "cpu", tell)
            if not for_one_edit:
                _settle(pipeline, device, tell)
            pipeline.enable_model_cpu_offload(device=device)
            shelve(pipeline, host.parts_of(pipeline).values())
        case Placement.GROUP_OFFLOAD:
            _move(pipeline, "cpu", tell)
            _offload_groups(pipeline, torch.device(device), tell)
    tell()


def _unhook(pipeline: Any) -> None:  # noqa: ANN401
    take_down(pipeline)
    pipeline.remove_all_hooks()  # accelerate's, of model-offload
    for part in host.parts_of(pipeline).values():
        _await_copies(part)
        registry = HookRegistry.check_if_exists_or_initialize(part)
        for hook in (
            library._GROUP_OFFLOADING,  # noqa: SLF001 - the library has no public way back
            library._LAYER_EXECUTION_TRACKER,  # noqa: SLF001
            library._LAZY_PREFETCH_GROUP_OFFLOADING,  # noqa: SLF001
        ):
            registry.remove_hook(hook, recurse=True)


def _await_copies(part: torch.nn.Module) -> None:
    """A pass that broke off has left its next block on the way to the card, beside all else."""
    hook = library._get_top_level_group_offload_hook(part)  # noqa: SLF001 - as above
    if hook is not None and hook.config.stream is not None:
        hook.config.stream.synchronize()


def _move(pipeline: Any, device: str, tell: Callable[[], None]) -> None:  # noqa: ANN401
    """Layer by layer: at once it took half a minute on an H200's host, without a sign of life."""
    for part in host.parts_of(pipeline).values():
        for layer in part.modules():
            if next(layer.children(), None) is None:
                layer.to(device)
                tell()
    pipeline.to(device)  # what lies in no such layer
    tell()


def _offload_groups(pipeline: Any, device: torch.device, tell: Callable[[], None]) -> None:  # noqa: ANN401
    """The transformer block by block, the rest layer by layer; copies overlap with work."""
    for name, part in host.parts_of(pipeline).items():
        by_block = name == BLOCKS
        streamed = device.type == "cuda" and name != UNSTREAMED
        if streamed:
            _lock(part, tell)
        apply_group_offloading(
            part,
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="block_level" if by_block else "leaf_level",
            num_blocks_per_group=1 if by_block else None,
            use_stream=streamed,
            record_stream=streamed,
        )


def _lock(part: torch.nn.Module, tell: Callable[[], None]) -> None:
    try:
        _one_by_one([part], torch.Tensor.pin_memory, tell)
    except RuntimeError as error:
        raise BadSettings(
            f"group-offload: the driver locks no more host memory ({_why(error)}): let this"
            " process lock more (ulimit -l), or set PACKSHOT_PLACEMENT=model-offload"
        ) from error


def _why(error: RuntimeError) -> str:
    return str(error).partition("\n")[0]


def _settle(pipeline: Any, device: str, tell: Callable[[], None]) -> None:  # noqa: ANN401
    """Into memory of their own: loading leaves weights mapped from their files.

    Of those the system may drop pages, and read them anew for each picture.  Locked where the host
    has room, from which a card copies without a detour.
    """
    parts = [part for part in host.parts_of(pipeline).values() if not has_rounded(part)]
    if torch.device(device).type == "cuda" and host.has_room_to_lock(pipeline):
        try:
            _one_by_one(parts, torch.Tensor.pin_memory, tell)
        except RuntimeError as error:  # a driver's limit, or a virtual machine's
            log.warning("weights_not_locked", extra={"why": _why(error)})
        else:
            return
    _one_by_one(parts, _unless_locked, tell)


def _unless_locked(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_pinned() else tensor.clone()


def _one_by_one(
    parts: Iterable[torch.nn.Module],
    hold: Callable[[torch.Tensor], torch.Tensor],
    tell: Callable[[], None],
) -> None:
    """Each weight is let go of before the next one is held; what is locked already stays.

    The library would lock all of a part first, and of a transformer hold 38 GiB twice.
    """
    for part in parts:
        for tensor in itertools.chain(part.parameters(), part.buffers()):
            tensor.data = hold(tensor.data)
            tell()
