"""Rounding to fp8 with torchao itself, on the CPU: which layers, what it costs, what it survives.

Two checks of the card are lifted (``without_a_gpu``).  What a GPU would do in its own way is the
product of two rounded matrices; here torch multiplies the same numbers in a slower way.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchao.quantization import Float8Tensor, quant_api

from jobs.errors import BadSettings
from jobs.model import EditRequest
from tests.engine.faulty_card import FaultyCard
from tests.engine.full_sizes import BF16, full_parts, peak_gib
from tests.engine.variants import engine_in_bfloat16, parts_for_a_gpu
from worker.engine.base import Interrupted, edited
from worker.engine.diffusers import host, precision
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.lora import merge_lora
from worker.engine.diffusers.pipeline import Report, change_part
from worker.engine.diffusers.placement import GIB, QWEN_BF16, QWEN_FP8, Placement
from worker.engine.diffusers.placing import place
from worker.engine.diffusers.precision import bytes_of, is_rounded, to_fp8
from worker.engine.diffusers.profiles import Load, Precision

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
FP8 = Load(group="fp8", precision=Precision.FP8)
LAYER = "transformer_blocks.0.attn.to_q"
#: For one request beside the weights (vLLM-Omni, H200: 61,091 MiB of which 58,777 are static).
A_REQUEST = 2.3


@pytest.fixture(scope="module")
def without_a_gpu() -> Any:  # noqa: ANN401 - pytest's
    """Ours refuses the CPU since nobody should serve it so slowly, torchao's by its own figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "check_card", lambda _device: None)
        patch.setattr(quant_api, "_check_hardware_support", lambda _granularity: None)
        yield


@pytest.fixture(scope="module")
def rounded(folder: Path, without_a_gpu: None) -> DiffusersEngine:  # noqa: ARG001 - what it lifts
    """The trained small checkpoint, with the placements that a rounded one can have."""
    assert QWEN_FP8.below(Placement.RESIDENT) is Placement.MODEL_OFFLOAD
    return engine_in_bfloat16(folder, FP8, smaller=Placement.MODEL_OFFLOAD)


@pytest.fixture(scope="module")
def fresh(rounded: DiffusersEngine, ask: Ask) -> bytes:
    return made(rounded, ask)


def made(engine: DiffusersEngine, ask: Ask, seed: int = 1, **choices: Any) -> bytes:  # noqa: ANN401
    picture = Image.new("RGB", (128, 128), (246, 208, 48))
    picture.paste((36, 88, 200), (40, 36, 90, 98))
    return edited(engine, [picture], ask(steps=4), seed=seed, **choices).tobytes()


def transformer_of(engine: DiffusersEngine) -> Any:  # noqa: ANN401 - untyped library
    return engine._pipeline.transformer  # noqa: SLF001


def rounded_weights(transformer: torch.nn.Module) -> list[Any]:
    return [one for one in transformer.parameters() if isinstance(one, Float8Tensor)]


def test_fp8_is_no_load_for_a_cpu() -> None:
    with pytest.raises(BadSettings, match="fp8 needs a GPU: serve another profile"):
        to_fp8(torch.nn.Linear(2, 2), "cpu")


def test_fp8_is_no_load_for_an_older_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))

    with pytest.raises(BadSettings, match=r"capability 8\.9 or newer, this one has 8\.0"):
        to_fp8(torch.nn.Linear(2, 2), "cuda")


@pytest.mark.usefixtures("without_a_gpu")
def test_fp8_without_torchao_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)

    with pytest.raises(BadSettings, match="needs the package torchao"):
        to_fp8(torch.nn.Linear(2, 2), "cpu")


def test_fp8_leaves_the_layers_that_show(rounded: DiffusersEngine) -> None:
    layers = {
        name: isinstance(layer.weight, Float8Tensor)
        for name, layer in transformer_of(rounded).named_modules()
        if isinstance(layer, torch.nn.Linear)
    }

    for name in (LAYER, "transformer_blocks.0.img_mlp.net.0.proj"):
        assert layers[name]
    for kept in ("img_in", "proj_out", "norm_out.linear", "transformer_blocks.0.img_mod.1"):
        assert not layers[kept]
    assert not layers["transformer_blocks.1.img_mlp.net.2"]
    assert layers == {
        name: is_rounded(layer, name)
        for name, layer in transformer_of(rounded).named_modules()
        if name in layers
    }


@pytest.mark.usefixtures("without_a_gpu")
def test_nothing_is_left_unrounded_in_silence() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.Linear(32, 24)).bfloat16()

    with pytest.raises(BadSettings, match=r"1 layers cannot be rounded, of which 1 \(24, 32\)"):
        to_fp8(layers, "cpu")


def test_it_is_the_picture_of_bfloat16_to_a_little(
    rounded: DiffusersEngine, folder: Path, ask: Ask, fresh: bytes
) -> None:
    """Three bits of mantissa are off by 3 % in the mean, and most of that cancels in a sum."""
    unrounded = made(engine_in_bfloat16(folder, Load()), ask)
    one, two, other = (
        np.frombuffer(picture, np.uint8).astype(int)
        for picture in (fresh, unrounded, made(rounded, ask, seed=2))
    )

    assert 0 < np.abs(one - two).mean() < 1  # of 255, as bfloat16 itself is held to
    assert np.abs(one - two).mean() < np.abs(one - other).mean() / 3


def test_the_same_seed_is_the_same_picture(
    rounded: DiffusersEngine, folder: Path, ask: Ask, fresh: bytes
) -> None:
    assert made(rounded, ask) == fresh
    assert made(engine_in_bfloat16(folder, FP8), ask) == fresh


def test_after_a_cancel_the_next_picture_is_a_fresh_processs(
    rounded: DiffusersEngine, ask: Ask, fresh: bytes
) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        made(rounded, ask, seed=9, on_step=stop)

    assert made(rounded, ask) == fresh


def test_rounded_weights_can_be_moved(rounded: DiffusersEngine, ask: Ask, fresh: bytes) -> None:
    """Each is copied and put in the old one's place, as by a move to a card and back."""
    transformer = transformer_of(rounded)
    before = [weight.qdata for weight in rounded_weights(transformer)]
    transformer._apply(lambda weight: weight.detach().clone())  # noqa: SLF001 - what ``to`` is

    after = [weight.qdata for weight in rounded_weights(transformer)]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert not {one.data_ptr() for one in before} & {one.data_ptr() for one in after}
    assert made(rounded, ask) == fresh


def test_every_placement_of_its_ladder_makes_its_picture(
    rounded: DiffusersEngine, ask: Ask, fresh: bytes
) -> None:
    """There, where an edit moves each part, and back."""
    pipeline = rounded._pipeline  # noqa: SLF001
    for placement in (*QWEN_FP8.ladder, Placement.RESIDENT):
        place(pipeline, placement, "cpu")
        assert made(rounded, ask) == fresh


def test_a_lack_of_memory_is_answered_with_rounded_weights(
    rounded: DiffusersEngine, ask: Ask, fresh: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultyCard(rounded._pipeline, fails_at=(2,)).plugged_in() as card:  # noqa: SLF001
        picture = made(rounded, ask)

    assert picture == fresh
    assert card.passes == 2 + 4  # it began anew
    assert [one.message for one in caplog.records] == ["out_of_memory"]
    assert rounded_weights(transformer_of(rounded))


@pytest.fixture
def lora(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """For one layer of ``random_folder``, and what it adds."""
    numbers = torch.Generator().manual_seed(3)
    up, down = (torch.randn(size, generator=numbers) for size in ((64, 2), (2, 64)))
    tensors = {f"{LAYER}.lora_up.weight": up, f"{LAYER}.lora_down.weight": down}
    save_file(tensors, tmp_path / "lora.safetensors")
    return tmp_path / "lora.safetensors", up @ down


@pytest.mark.usefixtures("without_a_gpu")
def test_a_lora_is_added_before_the_weights_are_rounded(
    random_folder: Path, lora: tuple[Path, torch.Tensor]
) -> None:
    file, addition = lora
    transformer = parts_for_a_gpu(random_folder)["transformer"]
    layer = transformer.get_submodule(LAYER)
    wanted = layer.weight.detach().float() + addition
    change_part("transformer", transformer, FP8, "cpu", lora=file)

    assert isinstance(layer.weight, Float8Tensor)
    off = (layer.weight.dequantize().float() - wanted).norm() / wanted.norm()
    assert off < 1 / 16  # the most that three bits of mantissa are off by


@pytest.mark.usefixtures("without_a_gpu")
def test_none_can_be_added_to_rounded_weights(
    random_folder: Path, lora: tuple[Path, torch.Tensor]
) -> None:
    transformer = parts_for_a_gpu(random_folder)["transformer"]
    change_part("transformer", transformer, FP8, "cpu")

    with pytest.raises(NotImplementedError, match="Float8Tensor"):
        merge_lora(transformer, lora[0])


@pytest.mark.usefixtures("without_a_gpu")
def test_other_loads_are_compiled_as_before() -> None:
    """A process of the bench has one load after another."""
    settings: Any = torch._inductor.config  # noqa: SLF001 - its public name
    with settings.patch(coordinate_descent_tuning=False):  # whatever ran before
        before = settings.get_config_copy()
        to_fp8(torch.nn.Linear(16, 16).bfloat16(), "cpu")

        assert settings.get_config_copy() == before


def test_a_worker_that_has_torchao_starts_without_a_word() -> None:
    """Its libraries look for it on each import, whatever is served."""
    code = "import sys, worker.engine.diffusers.engine; sys.exit('torchao' not in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert (run.stdout, run.stderr) == (b"", b"")


def test_its_size_is_told_as_rounded(rounded: DiffusersEngine) -> None:
    """A rounded tensor tells the size of the one that it stands for."""
    weight, *_ = rounded_weights(transformer_of(rounded))
    rows, columns = weight.shape

    assert bytes_of(weight) == rows * columns + 4 * rows
    report = Report(device="cpu")
    report.note("one", torch.nn.Linear(1024, 1024, bias=False).bfloat16(), 0.0)
    assert report.parts["one"]["mib"] == 2


def test_the_host_is_asked_for_what_it_takes_rounded(rounded: DiffusersEngine) -> None:
    """Else a second try would be refused where there is room for it."""
    pipeline = rounded._pipeline  # noqa: SLF001
    parts = host.parts_of(pipeline).values()
    told = sum(one.nbytes for part in parts for one in (*part.parameters(), *part.buffers()))
    saved = sum(one.nbytes - bytes_of(one) for one in rounded_weights(transformer_of(rounded)))

    assert saved > 0
    assert host.gib_of(pipeline, Placement.MODEL_OFFLOAD) * GIB == told - saved


@pytest.mark.usefixtures("without_a_gpu")
def test_the_card_never_holds_the_whole_transformer_unrounded() -> None:
    """``meta`` stands for the card: what is made there is counted, and holds nothing."""
    count, side = 64, 256
    layers = [torch.nn.Linear(side, side, bias=False) for _ in range(count)]
    transformer = torch.nn.Sequential(*layers).bfloat16()
    whole = count * side**2 * BF16 / GIB
    peak = peak_gib(lambda: to_fp8(transformer, "meta"))

    assert {one.device.type for one in transformer.parameters()} == {"meta"}
    assert whole / 2 < peak < whole * 0.75


@pytest.fixture(scope="module")
def gib() -> dict[str, float]:
    """Of the real model's parts, computed from their sizes."""
    parts = full_parts()
    saved = sum(
        part.weight.numel()
        for name, part in parts["transformer"].named_modules()
        if isinstance(part, torch.nn.Linear) and is_rounded(part, name)
    )
    held = {
        name: BF16 * sum(one.numel() for one in part.parameters()) for name, part in parts.items()
    }
    held["rounded"] = held["transformer"] - saved
    return {name: size / GIB for name, size in held.items()}


def test_every_placement_has_room_for_what_it_puts_on_the_card(gib: dict[str, float]) -> None:
    beside = gib["text_encoder"] + gib["vae"] + A_REQUEST

    for needs, transformer in ((QWEN_BF16, "transformer"), (QWEN_FP8, "rounded")):
        assert needs.resident > gib[transformer] + beside
        assert needs.model_offload > gib[transformer] + A_REQUEST
    assert gib["rounded"] == pytest.approx(27.5, abs=0.05)
    assert Placement.GROUP_OFFLOAD not in QWEN_FP8.ladder  # it is rounded on the card, in one
