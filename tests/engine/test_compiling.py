"""Compiled blocks: most tests trace only, one has code generated for the CPU.

What a GPU's code rounds is not shown here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch._inductor.compile_fx import compile_fx
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler

from jobs.errors import BadSettings, OutOfResources
from jobs.model import EditRequest
from tests.engine.test_exact import transformer
from tests.engine.variants import TINY, Loaded, load, loads_nothing
from worker.engine.base import edited
from worker.engine.diffusers import engine as engines
from worker.engine.diffusers import pipeline as loading
from worker.engine.diffusers.compiling import Shape, compile_blocks, shapes_to_warm
from worker.engine.diffusers.engine import DiffusersEngine, Options
from worker.engine.diffusers.models import model_row
from worker.engine.diffusers.offer import Offer
from worker.engine.diffusers.pipeline import load_pipeline
from worker.engine.diffusers.placement import Placement, Room
from worker.engine.diffusers.placing import place
from worker.engine.diffusers.profiles import Load

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
COMPILED = Load(group="compiled", compiled=True)
#: guidance, hence a second length of text in each step; and two areas beside the usual one
ROW = replace(
    TINY,
    min_area=96 * 96,
    max_area=160 * 160,
    profiles=(replace(TINY.profiles[0], guidance=4.0, load=COMPILED),),
)


@pytest.fixture(autouse=True)
def nothing_compiled_yet() -> Iterator[None]:
    torch._dynamo.reset()  # noqa: SLF001 - its public name
    torch._dynamo.utils.counters.clear()  # noqa: SLF001
    yield
    torch._dynamo.reset()  # noqa: SLF001


@pytest.fixture
def graphs() -> list[Any]:
    """One for each time that something was compiled."""
    return []


@pytest.fixture
def compiled(random_folder: Path, graphs: list[Any]) -> DiffusersEngine:
    def trace(graph: Any, _inputs: object) -> Any:  # noqa: ANN401
        graphs.append(graph)
        return graph.forward

    return engine_of(random_folder, backend=trace)


def engine_of(folder: Path, *, backend: Callable[..., Any]) -> DiffusersEngine:
    pipeline: Any = load_pipeline(folder, ROW, "cpu")
    compile_blocks(pipeline.transformer, backend=backend)
    offer = Offer(load=COMPILED, profiles=ROW.profiles)
    return DiffusersEngine(pipeline, ROW, card="cpu:0", revision="test", offer=offer)


@pytest.fixture
def plain(random_folder: Path) -> DiffusersEngine:
    return load(random_folder, ROW)


def made(engine: DiffusersEngine, request: EditRequest, pictures: list[Image.Image]) -> Image.Image:
    return edited(engine, pictures, request, seed=1)


def distance(one: Image.Image, other: Image.Image) -> int:
    """The largest of any colour of any pixel, of 255."""
    return max(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True))


def test_after_warm_up_no_request_is_compiled_for(
    compiled: DiffusersEngine,
    graphs: list[Any],
    plain: DiffusersEngine,
    ask: Ask,
    product: Image.Image,
) -> None:
    compiled.warm_up()
    at_start = len(graphs)
    for request, count in (
        (ask(steps=2), 1),
        (ask("make the background white and the box as red as a tomato", steps=2), 3),
        (ask(steps=2, size="160x96", negative="a logo"), 2),
        (ask(steps=2, size="144x144", true_cfg_scale=1.0), 1),
    ):
        pictures = [product] * count
        assert distance(made(compiled, request, pictures), made(plain, request, pictures)) <= 1

    assert at_start >= 1
    assert len(graphs) == at_start


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's, with a folder of its own: what an earlier run left would be taken as it is."""
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("torch generates C++ for a CPU, and finds no compiler for it: install g++")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))


@pytest.mark.usefixtures("compiler")
def test_generated_code_makes_the_same_picture_and_serves_every_request(
    folder: Path, ask: Ask, product: Image.Image
) -> None:
    compiled: list[Any] = []
    ran: list[Any] = []

    def generate(graph: Any, inputs: Any) -> Any:  # noqa: ANN401 - torch's
        code: Any = compile_fx(graph, inputs)
        compiled.append(code)

        def run(*arguments: Any) -> Any:  # noqa: ANN401
            ran.append(code)
            return code(*arguments)

        return run

    generated = engine_of(folder, backend=generate)
    generated.warm_up()
    plain = load(folder, ROW)
    blocks = len(plain._pipeline.transformer.transformer_blocks)  # noqa: SLF001
    for request, count, passes in (
        (ask(steps=4), 1, 8),
        (ask("make the box as red as a tomato", steps=2, size="160x96"), 3, 4),
        (ask(steps=2, size="144x144", true_cfg_scale=1.0), 2, 2),
    ):
        pictures = [product] * count
        ran.clear()
        picture = made(generated, request, pictures)

        assert len(ran) == passes * blocks  # none of them as it was written
        # Sums in another order are off in float32's last bits: one step of a colour at most.
        assert distance(picture, made(plain, request, pictures)) <= 1

    assert len(compiled) == 1


def test_a_shape_that_warm_up_did_not_see_runs_uncompiled(
    compiled: DiffusersEngine,
    graphs: list[Any],
    plain: DiffusersEngine,
    ask: Ask,
    product: Image.Image,
) -> None:
    """As if the compiler had found no code for it: here there is none at all."""
    picture = made(compiled, ask(steps=2), [product])

    assert graphs == []
    assert distance(picture, made(plain, ask(steps=2), [product])) <= 1


def test_the_blocks_are_compiled_whole_and_once(
    compiled: DiffusersEngine, graphs: list[Any]
) -> None:
    """Complex numbers would break the graph; a fixed length would compile for each text."""
    compiled.warm_up()

    assert len(graphs) == 1


def test_warm_up_shows_the_corners() -> None:
    row = model_row("qwen-image-edit-2509")

    assert shapes_to_warm(row, compiled=False) == (Shape(pictures=1, size="auto"),)
    assert shapes_to_warm(row, compiled=True) == (
        Shape(pictures=1, size="auto"),
        Shape(pictures=2, size="auto"),
        Shape(pictures=3, size="auto"),
        Shape(pictures=1, size="512x512"),
        Shape(pictures=1, size="1536x1536"),
    )


@pytest.mark.parametrize(
    ("autotuned", "mode"), [(False, {}), (True, {"mode": "max-autotune-no-cudagraphs"})]
)
def test_only_autotuned_code_is_timed_against_the_librarys(
    *, autotuned: bool, mode: dict[str, str]
) -> None:
    """Without graphs of CUDA: one would hold one length of sequence."""
    asked: list[dict[str, Any]] = []

    class Transformer(torch.nn.Module):
        def compile_repeated_blocks(self, **choices: object) -> None:
            asked.append(choices)

    compile_blocks(Transformer(), autotuned=autotuned)

    assert asked == [{"dynamic": True, "backend": "inductor", **mode}]


@pytest.mark.parametrize(
    ("compiled", "placement", "raised"),
    [
        (True, "resident", BadSettings),
        (True, "group-offload", Loaded),
        (False, "resident", Loaded),
    ],
)
def test_a_start_that_cannot_compile_is_refused_before_the_weights_are_read(
    random_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    compiled: bool,
    placement: str,
    raised: type[Exception],
) -> None:
    def loads(*_arguments: object, **choices: Any) -> None:  # noqa: ANN401 - handed on
        assert choices["load"].compiled is compiled
        loads_nothing()

    monkeypatch.setenv("CC", "none")
    monkeypatch.setattr(engines, "room_on", lambda _device: Room(free=24.0, total=24.0))
    monkeypatch.setattr(engines, "load_pipeline", loads)
    options = Options(compiled=compiled, placement=placement)

    with pytest.raises(raised):
        DiffusersEngine.load_row(random_folder, ROW, card="0", options=options)


@pytest.mark.parametrize(
    ("placement", "device", "asked"),
    [
        (Placement.RESIDENT, "cuda", [{"autotuned": False, "own_kernels": True}]),
        (Placement.MODEL_OFFLOAD, "cuda", []),
        (Placement.RESIDENT, "cpu", []),
    ],
)
def test_a_pipeline_is_compiled_when_it_is_in_its_place(
    random_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    placement: Placement,
    device: str,
    asked: list[dict[str, bool]],
) -> None:
    pipeline: Any = load_pipeline(random_folder, TINY, "cpu")
    done: list[object] = []
    monkeypatch.setattr(loading, "place", lambda *_arguments: done.append("placed"))
    monkeypatch.setattr(loading, "compile_blocks", lambda _part, **choices: done.append(choices))
    loading.make_ready(pipeline, TINY, load=COMPILED, placement=placement, device=device)

    assert done == ["placed", *asked]


def test_every_profile_of_the_model_is_compiled_but_the_one_whose_steps_are_skipped() -> None:
    profiles = model_row("qwen-image-edit-2509").profiles

    assert {one.name for one in profiles if not one.load.compiled} == {"cached"}


@pytest.mark.parametrize("zero_cond_t", [False, True])
def test_what_was_asked_for_as_a_kernel_of_attention_stays(zero_cond_t: bool) -> None:  # noqa: FBT001
    """Else it would be whichever the process set last."""
    model = transformer(zero_cond_t=zero_cond_t)
    model.set_attention_backend("_native_math")
    compile_blocks(model, backend="eager")

    kernels = {one._attention_backend for one in model.attn_processors.values()}  # noqa: SLF001
    assert {one.value for one in kernels} == {"_native_math"}


@pytest.mark.parametrize(
    ("fault", "raised", "words"),
    [
        (ValueError("no code for that"), BadSettings, "no code for that: set PACKSHOT_COMPILED"),
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfResources, "out of memory"),
    ],
)
def test_a_compiler_that_fails_refuses_the_start_and_names_the_way_round(
    random_folder: Path, fault: Exception, raised: type[Exception], words: str
) -> None:
    def fail(_graph: Any, _inputs: object) -> Any:  # noqa: ANN401 - torch's
        raise fault

    with pytest.raises(raised, match=words):
        engine_of(random_folder, backend=fail).warm_up()


def test_compiled_code_serves_on_after_a_second_try_in_another_place(
    random_folder: Path, ask: Ask, product: Image.Image, caplog: pytest.LogCaptureFixture
) -> None:
    """Weights come back to other addresses, and the library's hooks have been on the blocks."""
    ran: list[Any] = []

    def trace(graph: Any, _inputs: object) -> Any:  # noqa: ANN401 - torch's

        def run(*arguments: Any) -> Any:  # noqa: ANN401
            ran.append(graph)
            return graph.forward(*arguments)

        return run

    caplog.set_level("INFO")
    engine = engine_of(random_folder, backend=trace)
    engine.warm_up()
    pipeline: Any = engine._pipeline  # noqa: SLF001
    at_first, counts = made(engine, ask(steps=2), [product]), []
    for placement in (Placement.MODEL_OFFLOAD, Placement.GROUP_OFFLOAD, Placement.RESIDENT):
        place(pipeline, placement, "cpu", for_one_edit=True)
        pipeline.transformer._apply(lambda weight: weight.detach().clone())  # noqa: SLF001
        ran.clear()
        assert distance(made(engine, ask(steps=2), [product]), at_first) <= 1  # by alignment
        counts.append(len(ran))

    passes = 2 * 2  # with guidance
    assert counts == [passes * len(pipeline.transformer.transformer_blocks)] * 3
    (line,) = (one for one in caplog.records if one.message == "warmed_up")
    assert line.__dict__["graphs"] == 1
