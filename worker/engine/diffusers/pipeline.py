"""Loading a pipeline part by part, repaired, changed as its load says, and checked.

Each part is read through a memory map and put where it stays before the next one is read,
so the host holds one part at a time (all of them where parts are offloaded to the host).
"""

from __future__ import annotations

import importlib
import json
import logging
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from safetensors import SafetensorError

from jobs.errors import BadSettings
from worker.engine.diffusers.compiling import compile_blocks
from worker.engine.diffusers.contract import check_contract, check_positions
from worker.engine.diffusers.exact import flatten_vae
from worker.engine.diffusers.lora import merge_lora
from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.offer import is_to_compile
from worker.engine.diffusers.placement import MIB, Placement
from worker.engine.diffusers.placing import card_peak_mib, forget_card_peak, place
from worker.engine.diffusers.precision import bytes_of, to_fp8
from worker.engine.diffusers.profiles import LORA_FOLDER, Load, Precision
from worker.engine.diffusers.repairs import (
    cut_to_window,
    drop_head,
    mark_not_finite,
    pass_token_types,
)
from worker.engine.diffusers.seen import take_seen

LIBRARIES: Final = ("diffusers", "transformers")
#: What the libraries raise for files that are damaged, or weights that do not fit.
UNREADABLE: Final = (OSError, ValueError, RuntimeError, SafetensorError)
#: Weights that nothing here reads (``drop_head``), so that a folder may leave them out.
UNREAD: Final = frozenset({"lm_head.weight"})
SHOWN: Final = 3  # names of weights in one message


@dataclass(kw_only=True, slots=True)
class Report:
    """What loading took, by part: for one line of the log."""

    device: str
    parts: dict[str, dict[str, float]] = field(default_factory=dict)

    def note(self, name: str, part: object, seconds: float) -> None:
        """The card's peak is of this part's loading, the host's of the process so far."""
        facts = {"seconds": round(seconds, 2), "host_peak_mib": host_peak_mib()}
        facts |= card_peak_mib(self.device)
        forget_card_peak(self.device)
        if isinstance(part, torch.nn.Module):
            held = sum(bytes_of(one) for one in part.parameters())
            facts["mib"] = round(held / MIB)
        self.parts[name] = facts


def host_peak_mib() -> int:
    """The most memory that this process has held so far, mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # KiB on Linux


def load_pipeline(  # noqa: PLR0913 - each is a choice of its own
    folder: Path,
    row: ModelRow,
    device: str,
    *,
    load: Load | None = None,
    placement: Placement = Placement.RESIDENT,
    report: Report | None = None,
) -> Any:  # noqa: ANN401 - untyped library
    """The pipeline, ready to be called: bfloat16 on a GPU, float32 on the CPU.

    Float16 overflows in this model (black pictures).  Raises ``BadSettings`` when the folder
    holds another model, or the libraries are not those that this engine was written for.
    """
    load, report = load or Load(), report or Report(device=device)
    lora = folder / LORA_FOLDER / load.lora if load.lora is not None else None
    index = read_index(folder, row)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    parts: dict[str, Any] = {}
    for name, value in index.items():
        began = time.monotonic()
        parts[name] = _part(folder, name, value, device)
        change_part(name, parts[name], load, device, lora=lora)
        if placement is Placement.RESIDENT and isinstance(parts[name], torch.nn.Module):
            parts[name].to(device)
        report.note(name, parts[name], time.monotonic() - began)
    pipeline = getattr(diffusers, row.pipeline)(**parts)
    make_ready(pipeline, row, load=load, placement=placement, device=device)
    return pipeline


def change_part(
    name: str,
    part: Any,  # noqa: ANN401 - untyped library
    load: Load,
    device: str,
    *,
    lora: Path | None = None,
) -> None:
    """What a load does to one part, before that is put in its place.

    In this order: weights are added before they are rounded.
    """
    match name:
        case "transformer":
            _change_transformer(part, load, device, lora)
        case "text_encoder":
            drop_head(part)
        case "vae" if load.flat_vae:
            flatten_vae(part)
        case _:
            """Everything else is used as it comes."""


def make_ready(
    pipeline: Any,  # noqa: ANN401 - untyped library
    row: ModelRow,
    *,
    load: Load,
    placement: Placement,
    device: str,
) -> None:
    """Repair, place and check a pipeline of changed parts.  Raises ``BadSettings``."""
    pipeline.set_progress_bar_config(disable=True)
    if load.scheduler:
        pipeline.scheduler = type(pipeline.scheduler).from_config(
            pipeline.scheduler.config, **load.scheduler
        )
    check_contract(pipeline, row)
    if row.sees_pictures:
        pass_token_types(pipeline.text_encoder)
        take_seen(pipeline)
    if hasattr(pipeline, "tokenizer_2"):
        cut_to_window(pipeline.tokenizer)
    mark_not_finite(pipeline)
    place(pipeline, placement, device)
    if is_to_compile(load, placement, device):
        own = torch.device(device).type == "cuda"
        compile_blocks(pipeline.transformer, autotuned=load.autotuned, own_kernels=own)
    check_positions(pipeline, row)


def read_index(folder: Path, row: ModelRow) -> dict[str, Any]:
    """What the folder says it is made of: parts as [library, class], and plain values.

    Raises ``BadSettings`` when it holds another model, or none.
    """
    path = folder / "model_index.json"
    if not path.is_file():
        raise BadSettings(f"model folder {folder}: holds no model_index.json")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadSettings(f"model folder {folder}: model_index.json is damaged: {error}") from error
    if index.get("_class_name") != row.pipeline:
        raise BadSettings(f"model folder {folder}: is not a {row.pipeline}, as {row.name} is")
    return {name: value for name, value in index.items() if not name.startswith("_")}


def _part(folder: Path, name: str, value: Any, device: str) -> Any:  # noqa: ANN401
    if not isinstance(value, list):
        return value  # an argument of the pipeline's own
    library, kind = value
    if library is None:
        return None
    if library not in LIBRARIES:
        raise BadSettings(f"model folder {folder}: {name} is code of its own ({library})")
    loaded: Any = getattr(importlib.import_module(library), kind, None)
    if loaded is None:
        raise BadSettings(f"model folder {folder}: {name}: {library} has no {kind}")
    try:
        if isinstance(loaded, type) and issubclass(loaded, torch.nn.Module):
            return _weights(loaded, folder, name, device)
        return loaded.from_pretrained(folder, subfolder=name, local_files_only=True)
    except UNREADABLE as error:
        raise BadSettings(f"model folder {folder}: {name}: {error}") from error


def _weights(kind: Any, folder: Path, name: str, device: str) -> Any:  # noqa: ANN401
    """A network of that class, with every weight from the files and no weight left over.

    The libraries only warn: what the files lack is drawn at random, another way in each
    process, and what the configuration has no place for is dropped.
    """
    part, found = kind.from_pretrained(
        folder,
        subfolder=name,
        local_files_only=True,
        low_cpu_mem_usage=True,
        dtype=torch.float32 if device == "cpu" else torch.bfloat16,
        output_loading_info=True,
    )
    odd = [
        f"{what} {_some(names)}"
        for what, names in (
            ("lacks", set(found["missing_keys"]) - UNREAD),
            ("has no place for", set(found["unexpected_keys"])),
        )
        if names
    ]
    if odd:
        raise BadSettings(f"model folder {folder}: {name}: {'; '.join(odd)}")
    return part


def _some(names: set[str]) -> str:
    shown, more = sorted(names)[:SHOWN], len(names) - SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _change_transformer(
    transformer: Any,  # noqa: ANN401
    load: Load,
    device: str,
    lora: Path | None,
) -> None:
    if lora is not None:
        merge_lora(transformer, lora)
    if load.precision is Precision.FP8:
        to_fp8(transformer, device)
    _use_attention(transformer, load.attention)
    if load.step_cache is not None:
        transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=load.step_cache))


def _use_attention(transformer: Any, kernel: str) -> None:  # noqa: ANN401
    """Said even where it is the usual one.

    Who says nothing gets what was said last in this process, for whatever model, or in
    ``DIFFUSERS_ATTN_BACKEND``.
    """
    chatter = logging.getLogger("diffusers.models.modeling_utils")
    was, chatter.disabled = chatter.disabled, True  # "experimental", at each start
    try:
        transformer.set_attention_backend(kernel)
    finally:
        chatter.disabled = was
