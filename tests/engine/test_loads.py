"""What a load does to the weights, and what it must leave as it was."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from math import log
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from jobs.errors import BadSettings
from jobs.model import EditRequest
from tests.engine.variants import TINY, load, loaded_so
from worker.engine.base import Interrupted, edited
from worker.engine.diffusers import engine as engines
from worker.engine.diffusers.engine import DiffusersEngine, Options
from worker.engine.diffusers.lora import merge_lora
from worker.engine.diffusers.pipeline import Report, load_pipeline
from worker.engine.diffusers.placement import Placement, Room
from worker.engine.diffusers.placing import place
from worker.engine.diffusers.profiles import LIGHTNING_SCHEDULER, Load

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
LAYER = "transformer_blocks.0.attn.to_q"


def made(engine: DiffusersEngine, ask: Ask, product: Image.Image, seed: int = 1) -> bytes:
    return edited(engine, [product], ask(steps=2), seed=seed).tobytes()


@pytest.fixture(scope="module")
def plain(random_folder: Path) -> DiffusersEngine:
    return load(random_folder, TINY)


def matrices(up: int, down: int, rank: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.Generator().manual_seed(3)
    return torch.randn(up, rank, generator=numbers), torch.randn(rank, down, generator=numbers)


@pytest.mark.parametrize(
    ("prefix", "names", "alpha"),
    [
        ("", ("lora_up", "lora_down"), 1.0),  # Lightning's spelling
        ("diffusion_model.", ("lora_B", "lora_A"), None),
        ("transformer.", ("lora_B.default", "lora_A.default"), 8.0),
    ],
)
def test_a_lora_adds_its_product_at_its_scale(
    tmp_path: Path, prefix: str, names: tuple[str, str], alpha: float | None
) -> None:
    model = torch.nn.ModuleDict({"one": torch.nn.Linear(5, 7), "two": torch.nn.Linear(5, 7)})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    up, down = matrices(7, 5)
    tensors = {
        f"{prefix}one.{names[0]}.weight": up,
        f"{prefix}one.{names[1]}.weight": down,
    }
    if alpha is not None:
        tensors[f"{prefix}one.alpha"] = torch.tensor(alpha)
    save_file(tensors, tmp_path / "lora.safetensors")

    count = merge_lora(model, tmp_path / "lora.safetensors")

    scale = 1.0 if alpha is None else alpha / 2
    after = model.state_dict()
    assert count == 1
    assert torch.allclose(after["one.weight"], before["one.weight"] + scale * (up @ down))
    for same in ("one.bias", "two.weight", "two.bias"):
        assert torch.equal(after[same], before[same])


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"three.lora_up.weight": (7, 2), "three.lora_down.weight": (2, 5)}, "no linear layer"),
        ({"one.lora_up.weight": (7, 2)}, "one has one of its two matrices"),
        ({"one.lora_up.weight": (6, 2), "one.lora_down.weight": (2, 5)}, r"one is \(7, 5\)"),
        ({"one.lora_up.weight": (7, 3), "one.lora_down.weight": (2, 5)}, r"one is \(7, 5\)"),
        ({"one.diff": (7, 5)}, "one.diff is no part of a LoRA"),
        ({}, "is empty"),
    ],
)
def test_a_lora_that_fits_in_part_is_refused_whole(
    tmp_path: Path, tensors: dict[str, tuple[int, int]], told: str
) -> None:
    model = torch.nn.ModuleDict({"one": torch.nn.Linear(5, 7)})
    before = model.state_dict()["one.weight"].clone()
    save_file({name: torch.ones(size) for name, size in tensors.items()}, tmp_path / "lora")

    with pytest.raises(BadSettings, match=told):
        merge_lora(model, tmp_path / "lora")
    assert torch.equal(model.state_dict()["one.weight"], before)


@pytest.fixture(scope="module")
def few_steps(random_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small checkpoint with weights for few steps beside it."""
    folder = tmp_path_factory.mktemp("few") / "model"
    copytree(random_folder, folder)
    (folder / "lora").mkdir()
    config = json.loads((folder / "transformer" / "config.json").read_text())
    width = config["num_attention_heads"] * config["attention_head_dim"]
    up, down = matrices(width, width)
    save_file(
        {f"{LAYER}.lora_up.weight": up, f"{LAYER}.lora_down.weight": down},
        folder / "lora" / "few.safetensors",
    )
    return folder


def test_few_step_weights_come_with_their_schedule_and_a_group_of_their_own(
    few_steps: Path, plain: DiffusersEngine, ask: Ask, product: Image.Image
) -> None:
    wanted = Load(group="lightning-4", lora="few.safetensors", scheduler=LIGHTNING_SCHEDULER)
    pipeline: Any = load_pipeline(few_steps, TINY, "cpu", load=wanted)
    engine = load(few_steps, loaded_so(wanted))

    config = pipeline.scheduler.config
    assert (config.base_shift, config.max_shift) == (log(3), log(3))
    assert config.shift_terminal is None
    assert config.max_image_seq_len == 8192  # the rest is the model's
    assert engine.model.queue == "edit.qwen-image-edit-2509-tiny.lightning-4"
    assert engine.model.revision != plain.model.revision
    assert made(engine, ask, product) != made(plain, ask, product)


def test_beside_the_model_they_change_nothing(
    few_steps: Path, plain: DiffusersEngine, ask: Ask, product: Image.Image
) -> None:
    engine = load(few_steps, TINY)

    assert engine.model.revision == plain.model.revision
    assert made(engine, ask, product) == made(plain, ask, product)


def passes_of_the_last_block(engine: DiffusersEngine) -> list[bool]:
    seen: list[bool] = []
    block = engine._pipeline.transformer.transformer_blocks[-1]  # noqa: SLF001
    block.img_mlp.register_forward_hook(lambda *_: seen.append(True))
    return seen


def test_a_step_cache_skips_work_and_forgets_between_edits(
    random_folder: Path, ask: Ask, product: Image.Image
) -> None:
    engine = load(random_folder, loaded_so(Load(group="cached", step_cache=10.0)))
    passes = passes_of_the_last_block(engine)
    first = made(engine, ask, product)
    skipped = 2 - len(passes)

    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        edited(engine, [product], ask("make it red", steps=3), seed=7, on_step=stop)

    assert skipped == 1
    assert made(engine, ask, product) == first


def test_a_step_cache_that_never_matches_changes_nothing(
    random_folder: Path, plain: DiffusersEngine, ask: Ask, product: Image.Image
) -> None:
    engine = load(random_folder, loaded_so(Load(group="cached", step_cache=1e-9)))

    assert made(engine, ask, product) == made(plain, ask, product)


@pytest.mark.parametrize("placement", [Placement.MODEL_OFFLOAD, Placement.GROUP_OFFLOAD])
def test_an_offload_changes_no_pixel_and_can_be_taken_back(
    random_folder: Path,
    plain: DiffusersEngine,
    ask: Ask,
    product: Image.Image,
    placement: Placement,
) -> None:
    pipeline: Any = load_pipeline(random_folder, TINY, "cpu", placement=placement)
    engine = DiffusersEngine(pipeline, TINY, card="cpu:0", revision="test")
    offloaded = made(engine, ask, product)
    place(pipeline, Placement.RESIDENT, "cpu")

    assert offloaded == made(engine, ask, product) == made(plain, ask, product)


def test_an_edit_that_ends_early_leaves_model_offload_as_it_was(
    random_folder: Path, plain: DiffusersEngine, ask: Ask, product: Image.Image
) -> None:
    """Its parts would stay on the card, one more with each such edit, and hooks be lost."""
    pipeline: Any = load_pipeline(random_folder, TINY, "cpu", placement=Placement.MODEL_OFFLOAD)
    engine = DiffusersEngine(pipeline, TINY, card="cpu:0", revision="test")
    hooks = len(pipeline._all_hooks)  # noqa: SLF001
    brought_back: list[bool] = []
    plainly = pipeline.maybe_free_model_hooks

    def free() -> None:
        plainly()
        brought_back.append(True)

    def stop(done: int, _total: int) -> None:
        if done:
            raise Interrupted

    pipeline.maybe_free_model_hooks = free
    with pytest.raises(Interrupted):
        edited(engine, [product], ask("make it red"), seed=7, on_step=stop)

    assert brought_back == [True]
    assert len(pipeline._all_hooks) == hooks == 3  # noqa: SLF001
    assert made(engine, ask, product) == made(plain, ask, product)


def test_what_is_in_its_place_takes_no_way_through_the_host(
    random_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """58 GB there and back, at every start."""
    pipeline: Any = load_pipeline(random_folder, TINY, "cpu")
    moves: set[str] = set()
    monkeypatch.setattr(
        torch.nn.Module, "to", lambda _part, device, *_type: moves.add(torch.device(device).type)
    )

    place(pipeline, Placement.RESIDENT, "cuda")

    assert moves == {"cuda"}


def test_one_line_tells_what_was_loaded_and_what_it_took(
    random_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    load(random_folder, TINY)

    (facts,) = [vars(one) for one in caplog.records if one.message == "model_loaded"]
    assert facts["placement"] == "resident"
    assert facts["why"] == "the CPU has one memory"
    assert facts["group"] == "default"
    assert {"text_encoder", "transformer", "vae"} < set(facts["parts"])
    for name in ("text_encoder", "transformer", "vae"):
        part = facts["parts"][name]
        assert part["seconds"] >= 0
        assert part["host_peak_mib"] > 0
        assert "card_peak_mib" not in part
    assert facts["parts"]["vae"]["host_peak_mib"] > 0.9 * kernels_peak_mib()


@pytest.mark.parametrize("locks", [True, False])
def test_what_is_offloaded_tells_how_much_of_it_is_locked(
    *,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    locks: bool,
) -> None:
    """From other memory a card copies slower, and nothing else shows it."""
    monkeypatch.setattr(engines, "room_on", lambda _device: Room(free=24.0, total=24.0))
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda _tensor: locks)
    caplog.set_level(logging.INFO)
    load(folder, TINY, Options(placement="model-offload"))

    (facts,) = [vars(one) for one in caplog.records if one.message == "model_loaded"]
    held = sum(part["mib"] for part in facts["parts"].values() if "mib" in part)
    assert held > 10
    assert facts["locked_mib"] == pytest.approx(held if locks else 0, abs=2)  # each is rounded


def kernels_peak_mib() -> float:
    """Of this process, by another of Linux's counters."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    )
    return int(line.split()[1]) / 1024


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts as a card does: from its reset on."""
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: asked.append("reset"))

    def most() -> int:
        asked.append("most")
        return 7 * 1024**3

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", most)
    return asked


def test_each_part_tells_the_cards_peak_of_its_own_loading(a_gpu: list[str]) -> None:
    report = Report(device="cuda")
    for name in ("text_encoder", "vae"):
        report.note(name, torch.nn.Linear(2, 2), 1.0)

    assert [part["card_peak_mib"] for part in report.parts.values()] == [7168, 7168]
    assert a_gpu == ["most", "reset"] * 2


def test_each_edit_tells_the_cards_peak(
    *,
    random_folder: Path,
    ask: Ask,
    product: Image.Image,
    a_gpu: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline: Any = load_pipeline(random_folder, TINY, "cpu")
    engine = DiffusersEngine(pipeline, TINY, card="GPU-1", revision="test")
    caplog.set_level(logging.INFO)
    made(engine, ask, product)

    (line,) = [vars(one) for one in caplog.records if one.message == "card_used"]
    assert (line["card_peak_mib"], line["canvas"], line["pictures"]) == (7168, (128, 128), 1)
    assert a_gpu == ["reset", "most"]


def kernels(engine: DiffusersEngine) -> set[str]:
    blocks = engine._pipeline.transformer.transformer_blocks  # noqa: SLF001
    return {block.attn.processor._attention_backend.value for block in blocks}  # noqa: SLF001


def test_a_kernel_of_attention_is_one_loads_own(
    random_folder: Path, ask: Ask, product: Image.Image
) -> None:
    """diffusers keeps the last one for the whole process."""
    other = load(random_folder, loaded_so(Load(group="other", attention="_native_math")))
    plain = load(random_folder, TINY)

    assert (kernels(other), kernels(plain)) == ({"_native_math"}, {"native"})
    one, two = (np.frombuffer(made(engine, ask, product), np.uint8) for engine in (other, plain))
    assert np.abs(one.astype(int) - two).max() <= 1


def test_a_card_that_is_not_free_at_the_start_is_a_warning(
    random_folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its offload lasts as long as the process does."""
    monkeypatch.setattr(engines, "room_on", lambda _device: Room(free=0.7, total=24.0))
    load(random_folder, TINY)

    (line,) = [vars(one) for one in caplog.records if one.message == "card_not_free"]
    assert line["levelname"] == "WARNING"
    assert line["placement"] == "model-offload"
    assert "with all of the card resident would fit: end what else is on it" in line["why"]
