"""What is made before the card is taken is what the pipeline would have made on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from jobs.errors import BadSettings, OutOfResources
from jobs.model import EditRequest
from tests.engine.variants import TINY, load, tiny_row, variant
from worker.engine.base import Interrupted
from worker.engine.diffusers import contract, seen
from worker.engine.diffusers.contract import check_contract, check_positions
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.profiles import Load
from worker.engine.diffusers.repairs import pass_token_types, picture_areas

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
Pipeline = Any
Size = tuple[int, int]

EDITION = "qwen-image-edit"
QWEN = ["qwen-image-edit-2509", "qwen-image-edit-2511", EDITION]
SEED = 3


def photo(size: Size) -> Image.Image:
    """Every pixel another colour, so that each way of scaling gives other ones."""
    numbers = np.random.default_rng(size[0])
    return Image.fromarray(numbers.integers(0, 256, (size[1], size[0], 3), np.uint8))


def row_of(name: str) -> ModelRow:
    """The two areas differ as the real model's do; the VAE is the library's, to the bit."""
    row = tiny_row(name)
    area = row.vae_area if name == EDITION else 96 * 96
    return replace(
        row,
        condition_area=area,
        profiles=(replace(row.profiles[0], load=Load(flat_vae=False)),),
    )


@pytest.fixture(scope="module", params=QWEN)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def weights(name: str, random_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("seen") / name
    match name:
        case "qwen-image-edit-2511":
            return variant(random_folder, place, "transformer/config.json", zero_cond_t=True)
        case "qwen-image-edit":
            pipeline = "QwenImageEditPipeline"
            return variant(random_folder, place, "model_index.json", _class_name=pipeline)
        case _:
            return random_folder


@pytest.fixture(scope="module")
def engine(name: str, weights: Path) -> DiffusersEngine:
    return load(weights, row_of(name))


@pytest.fixture(scope="module")
def untouched(weights: Path) -> Pipeline:
    """As its documentation loads it; told only which tokens are an image's."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(weights, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pass_token_types(pipeline.text_encoder)
    return pipeline


@pytest.mark.parametrize(
    "sizes",
    [
        [(128, 128)],
        [(400, 300)],
        [(77, 301)],
        [(1200, 90)],
        [(31, 20)],
        [(333, 500), (128, 128)],
        [(640, 201), (50, 64), (301, 299)],
    ],
)
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_it_is_the_untouched_pipelines_picture_to_the_bit(  # noqa: PLR0913 - fixtures
    *,
    name: str,
    engine: DiffusersEngine,
    untouched: Pipeline,
    ask: Ask,
    sizes: list[Size],
    guidance: float,
) -> None:
    row = row_of(name)
    pictures = [photo(size) for size in sizes][: row.max_pictures]
    edit = engine.prepare(pictures, ask(steps=2, true_cfg_scale=guidance), seed=SEED)
    made = edit.on_card(lambda *_: None)

    with picture_areas(untouched, row):
        plain = untouched(
            image=pictures if row.max_pictures > 1 else pictures[0],
            prompt=edit.request.instruction,
            negative_prompt=" " if guidance > 1 else None,
            true_cfg_scale=guidance,
            num_inference_steps=2,
            width=made.width,
            height=made.height,
            generator=torch.Generator("cpu").manual_seed(SEED),
        ).images[0]

    assert made.tobytes() == plain.tobytes()


def test_nothing_is_scaled_or_cut_into_tokens_on_the_card(
    engine: DiffusersEngine, name: str, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [photo((400, 300))] * row_of(name).max_pictures
    edit = engine.prepare(pictures, ask(steps=2, true_cfg_scale=2.0), seed=SEED)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the card waits for this")

    pipeline = engine._pipeline  # noqa: SLF001
    monkeypatch.setattr(Image.Image, "resize", never)
    monkeypatch.setattr(type(pipeline.processor._plain), "__call__", never)  # noqa: SLF001
    monkeypatch.setattr(type(pipeline.tokenizer), "__call__", never)

    assert edit.on_card(lambda *_: None).mode == "RGB"


def test_what_is_held_for_an_edit_follows_the_models_sizes_and_not_the_pictures(
    engine: DiffusersEngine, name: str, ask: Ask
) -> None:
    small, large = (
        held(engine.prepare([photo(size)], ask(), seed=SEED)) for size in ((40, 30), (2000, 1500))
    )

    assert small == large
    assert large < 8 * row_of(name).vae_area * 3 * 4  # float32, and what the text encoder sees


def held(edit: Any) -> int:  # noqa: ANN401 - the engine's own kind
    """Bytes of the numbers that one picture became."""
    (one,) = edit.pictures
    patches = sum(int(text["pixel_values"].nbytes) for text in one.texts.values())
    area: int = one.condition.width * one.condition.height
    return patches + int(one.values.nbytes) + 3 * area


def test_a_host_without_memory_for_it_is_a_lack_of_resources(
    engine: DiffusersEngine, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(*_: object, **__: object) -> None:
        raise MemoryError("64 MB")

    monkeypatch.setattr(Image.Image, "resize", lack)

    with pytest.raises(OutOfResources, match="out of memory: 64 MB"):
        engine.prepare([photo((400, 300))], ask(), seed=SEED)


def test_after_an_order_to_end_no_further_picture_is_scaled(
    engine: DiffusersEngine, name: str, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of 67 MP takes half a second, each time."""
    scaled: list[Size] = []
    plain = Image.Image.resize

    def resize(picture: Image.Image, size: Size, *arguments: Any, **choices: Any) -> Image.Image:  # noqa: ANN401
        scaled.append(picture.size)
        return plain(picture, size, *arguments, **choices)

    def stop() -> None:
        if scaled:
            raise Interrupted

    monkeypatch.setattr(Image.Image, "resize", resize)
    pictures = [photo((400, 300))] * row_of(name).max_pictures

    with pytest.raises(Interrupted):
        engine.prepare(pictures, ask(), seed=SEED, ask=stop)

    assert scaled == [(400, 300)]


def test_a_library_that_asks_for_other_texts_stops_the_start(
    pipeline: Pipeline, row: ModelRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "PICTURE_LABEL", "Photo {}: <|vision_start|><|image_pad|>")

    with pytest.raises(BadSettings, match="puts a text into another template"):
        check_positions(pipeline, row)


def test_a_library_that_rounds_sides_in_another_way_stops_the_start(
    pipeline: Pipeline, row: ModelRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "seen_size", lambda _row, size: size)

    with pytest.raises(BadSettings, match="calculate_dimensions rounds in another way"):
        check_contract(pipeline, row)


def test_another_size_than_was_made_is_told(pipeline: Pipeline) -> None:
    (one,) = seen.see(pipeline, TINY, [photo((40, 30))], ["make it red"])

    with pytest.raises(seen.NotForeseen, match="the pipeline wants"):
        pipeline.image_processor.resize(one, 8, 16)
    with pytest.raises(seen.NotForeseen, match="the pipeline wants"):
        pipeline.image_processor.preprocess(one, 8, 16)


def test_each_pass_of_the_text_encoder_gets_a_container_of_its_own(pipeline: Pipeline) -> None:
    """The pipeline moves what is in it to the card: a second try must not find it there."""
    (one,) = seen.see(pipeline, TINY, [photo((40, 30))], ["make it red"])
    (text,) = one.texts
    one.beside(text).data.clear()

    assert "pixel_values" in one.beside(text)
