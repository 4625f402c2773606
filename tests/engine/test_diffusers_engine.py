from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as library
from PIL import Image

from jobs.errors import BadSettings, OutOfResources, Permanent, WorkerFatal
from jobs.model import EditRequest
from worker.engine.base import Engine, Interrupted, edited
from worker.engine.diffusers.engine import DiffusersEngine

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
MODEL = "qwen-image-edit-2509-tiny"


def made(
    engine: Engine, request: EditRequest, *pictures: Image.Image, seed: int = 1
) -> Image.Image:
    return edited(engine, pictures, request, seed=seed)


def test_a_loaded_engine_says_what_it_serves(folder: Path) -> None:
    engine: Engine = DiffusersEngine.load(folder, card="cpu:0", model=MODEL)
    engine.warm_up()

    assert engine.card == "cpu:0"
    assert engine.model.name == MODEL
    assert engine.model.profiles == ("quality", "balanced", "fast")
    assert engine.model.queue == f"edit.{MODEL}.default"
    assert len(engine.model.revision) == 16
    engine.close()


def test_another_instruction_gives_another_picture(
    engine: DiffusersEngine, ask: Ask, product: Image.Image
) -> None:
    white = made(engine, ask(steps=2), product)
    red = made(engine, ask("make the background red", steps=2), product)

    assert white.tobytes() != red.tobytes()


def test_the_same_seed_gives_the_same_pixels_and_another_does_not(
    engine: DiffusersEngine, ask: Ask, product: Image.Image
) -> None:
    one, two, other = (made(engine, ask(steps=2), product, seed=seed) for seed in (1, 1, 2))

    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    ("size", "computed"), [("auto", (192, 96)), ("source", (192, 96)), ("77x140", (96, 176))]
)
def test_the_picture_has_the_size_that_the_model_computes(
    engine: DiffusersEngine, ask: Ask, size: str, computed: tuple[int, int]
) -> None:
    """Scaling it is for others: here the card would wait."""
    picture = made(engine, ask(size=size, steps=2), Image.new("RGB", (201, 99), "navy"))

    assert picture.size == computed
    assert picture.mode == "RGB"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_references_change_the_picture_and_the_first_one_shapes_it(
    engine: DiffusersEngine, ask: Ask, product: Image.Image, count: int
) -> None:
    references = [Image.new("RGB", (90, 200), "green")] * (count - 1)

    alone = made(engine, ask(steps=2), product)
    picture = made(engine, ask(steps=2), product, *references)

    assert picture.size == (128, 128)
    assert (picture.tobytes() == alone.tobytes()) == (count == 1)


@pytest.mark.parametrize(
    ("choices", "steps"), [({}, 8), ({"profile": "fast"}, 4), ({"steps": 3}, 3)]
)
def test_every_step_is_told_in_order(
    engine: DiffusersEngine, ask: Ask, product: Image.Image, choices: dict[str, Any], steps: int
) -> None:
    told: list[tuple[int, int]] = []

    edited(
        engine,
        [product],
        ask(**choices),
        seed=1,
        on_step=lambda done, total: told.append((done, total)),
    )

    assert [pair for pair, _ in groupby(told)] == [(done, steps) for done in range(steps + 1)]


@pytest.fixture
def fresh_picture(folder: Path, ask: Ask, product: Image.Image) -> bytes:
    """What an engine makes that has never done anything before."""
    engine = DiffusersEngine.load(folder, card="cpu:0", model=MODEL)
    return made(engine, ask(steps=4), product).tobytes()


def test_after_an_interrupt_the_next_picture_equals_a_fresh_engines(
    engine: DiffusersEngine, ask: Ask, product: Image.Image, fresh_picture: bytes
) -> None:
    def stop_after_two(done: int, total: int) -> None:
        assert total == 5
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        edited(engine, [product], ask("make it red", steps=5), seed=9, on_step=stop_after_two)
    after = made(engine, ask(steps=4), product)

    assert after.tobytes() == fresh_picture


def test_an_interrupt_frees_what_the_pipeline_holds(
    engine: DiffusersEngine,
    pipeline: Any,  # noqa: ANN401 - untyped library
    ask: Ask,
    product: Image.Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    freed: list[bool] = []
    monkeypatch.setattr(pipeline, "maybe_free_model_hooks", lambda: freed.append(True))

    def stop(done: int, total: int) -> None:
        raise Interrupted(f"{done} of {total}")

    with pytest.raises(Interrupted):
        edited(engine, [product], ask(), seed=9, on_step=stop)
    assert freed == [True]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), OutOfResources),
        (MemoryError(), OutOfResources),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfResources),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), OutOfResources),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), WorkerFatal),
        (torch.AcceleratorError("device-side assert triggered"), WorkerFatal),
        (RuntimeError("CUDA driver error: unknown error"), WorkerFatal),
        (RuntimeError("Triton Error [CUDA]: an illegal memory access"), WorkerFatal),
        (RuntimeError("Triton Error [CUDA]: out of memory"), OutOfResources),
        (ValueError("no fault of the card"), ValueError),
        (RuntimeError("shapes do not match"), RuntimeError),
    ],
)
def test_a_fault_of_the_card_has_a_class(  # noqa: PLR0913 - fixtures
    *,
    engine: DiffusersEngine,
    pipeline: Any,  # noqa: ANN401 - untyped library
    ask: Ask,
    product: Image.Image,
    error: Exception,
    failure: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(pipeline.transformer, "forward", fail)

    with pytest.raises(failure):
        made(engine, ask(), product)


def test_after_running_out_of_memory_the_next_picture_equals_a_fresh_engines(  # noqa: PLR0913
    *,
    engine: DiffusersEngine,
    pipeline: Any,  # noqa: ANN401 - untyped library
    ask: Ask,
    product: Image.Image,
    fresh_picture: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.vae, "decode", fail)
        with pytest.raises(OutOfResources, match="CUDA out of memory"):
            made(engine, ask("make it red"), product, seed=9)
    after = made(engine, ask(steps=4), product)

    assert after.tobytes() == fresh_picture


@pytest.mark.parametrize(
    ("guidance", "negative", "forwards"),
    [(None, None, 2), (1.0, "blurred", 2), (3.0, None, 4), (3.0, "blurred", 4), (3.0, "", 4)],
)
def test_guidance_needs_no_negative_prompt(  # noqa: PLR0913 - fixtures
    *,
    engine: DiffusersEngine,
    pipeline: Any,  # noqa: ANN401 - untyped library
    ask: Ask,
    product: Image.Image,
    guidance: float | None,
    negative: str | None,
    forwards: int,
) -> None:
    seen: list[object] = []
    hook = pipeline.transformer.register_forward_pre_hook(lambda *_: seen.append(True))

    request = ask(steps=2, true_cfg_scale=guidance, negative=negative)
    made(engine, request, product)
    hook.remove()

    assert len(seen) == forwards


def test_the_log_stays_clean(
    folder: Path, ask: Ask, product: Image.Image, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = DiffusersEngine.load(folder, card="cpu:0", model=MODEL)

    made(engine, ask(steps=2, negative="blurred"), product)
    made(engine, ask(steps=2, true_cfg_scale=2.0, size="50x50"), product)

    assert capfd.readouterr() == ("", "")


def test_the_librarys_areas_are_restored(
    engine: DiffusersEngine, ask: Ask, product: Image.Image
) -> None:
    seen: list[tuple[int, int]] = []
    plain = library.calculate_dimensions

    def stop(_done: int, _total: int) -> None:
        seen.append(library.calculate_dimensions(1024 * 1024, 1.0))
        seen.append(library.calculate_dimensions(384 * 384, 1.0))
        raise Interrupted

    with pytest.raises(Interrupted):
        edited(engine, [product], ask(), seed=1, on_step=stop)

    assert seen == [(128, 128), (128, 128)]
    assert library.calculate_dimensions is plain


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"instruction": "很" * 1000}, r"instruction: at most 955 tokens, got \d{4}"),
        (
            {"negative": "很" * 1000, "true_cfg_scale": 2.0},
            r"negative: at most 955 tokens, got \d{4}",
        ),
        ({"profile": "best"}, "profile: one of quality, balanced, fast, got 'best'"),
    ],
)
def test_a_request_that_cannot_be_run_is_refused_for_good(
    engine: DiffusersEngine,
    ask: Ask,
    product: Image.Image,
    choices: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(Permanent, match=message):
        made(engine, ask(**choices), product)


def test_a_mark_of_the_template_that_came_past_submit_is_refused(
    engine: DiffusersEngine, ask: Ask, product: Image.Image
) -> None:
    fields = {name: getattr(ask(), name) for name in EditRequest.__slots__}
    smuggled = EditRequest.recorded(**{**fields, "instruction": "a <|image_pad|>"})

    with pytest.raises(Permanent, match=r"instruction: contains <\|image_pad\|>"):
        made(engine, smuggled, product)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([], "pictures: 1 to 3, got 0"),
        ([Image.new("RGB", (9, 9))] * 4, "pictures: 1 to 3, got 4"),
        ([Image.new("RGBA", (9, 9))], "picture 1: must be RGB, is RGBA"),
        ([Image.new("RGB", (9, 9)), Image.new("RGB", (990, 9))], "picture 2: 990x9, at most 32:1"),
    ],
)
def test_pictures_that_cannot_be_edited_are_refused_for_good(
    engine: DiffusersEngine, ask: Ask, pictures: list[Image.Image], message: str
) -> None:
    with pytest.raises(Permanent, match=message):
        made(engine, ask(), *pictures)


def test_a_folder_without_the_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"no model_index\.json"):
        DiffusersEngine.load(tmp_path, card="cpu:0", model=MODEL)

    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxKontextPipeline"}')
    with pytest.raises(BadSettings, match="is not a QwenImageEditPlusPipeline"):
        DiffusersEngine.load(tmp_path, card="cpu:0", model=MODEL)
