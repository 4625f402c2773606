from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
from PIL import Image

from jobs.errors import BadSettings, Permanent
from jobs.model import EditRequest
from tests.engine.variants import load, tiny_row, variant
from worker.engine.base import edited
from worker.engine.diffusers.contract import ARGUMENTS
from worker.engine.diffusers.engine import DiffusersEngine, Options
from worker.engine.diffusers.models import MODELS, ModelRow, model_row

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]

QWEN = ["qwen-image-edit-2509", "qwen-image-edit-2511", "qwen-image-edit"]


@pytest.fixture(scope="module")
def folders(random_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("siblings")
    return {
        "qwen-image-edit-2509": random_folder,
        "qwen-image-edit-2511": variant(
            random_folder, root / "2511", "transformer/config.json", zero_cond_t=True
        ),
        "qwen-image-edit": variant(
            random_folder, root / "edit", "model_index.json", _class_name="QwenImageEditPipeline"
        ),
    }


@pytest.fixture(scope="module")
def engines(folders: dict[str, Path]) -> dict[str, DiffusersEngine]:
    return {name: load(folders[name], tiny_row(name)) for name in QWEN}


@pytest.mark.parametrize("name", QWEN)
def test_a_sibling_edits_with_and_without_guidance(
    engines: dict[str, DiffusersEngine], ask: Ask, product: Image.Image, name: str
) -> None:
    engine = engines[name]
    engine.warm_up()
    plain, guided = (
        edited(engine, [product], ask(steps=2, **more), seed=1)
        for more in ({}, {"true_cfg_scale": 3.0})
    )

    assert plain.size == guided.size == product.size
    assert plain.tobytes() != guided.tobytes()


def test_siblings_make_different_pictures(
    engines: dict[str, DiffusersEngine], ask: Ask, product: Image.Image
) -> None:
    pictures = {
        edited(engine, [product], ask(steps=2), seed=1).tobytes() for engine in engines.values()
    }

    assert len(pictures) == len(QWEN)


def test_the_first_release_takes_one_picture(
    engines: dict[str, DiffusersEngine], ask: Ask, product: Image.Image
) -> None:
    with pytest.raises(Permanent, match="pictures: 1, got 2"):
        edited(engines["qwen-image-edit"], [product] * 2, ask(), seed=1)


@pytest.mark.parametrize(
    ("weights", "name", "says", "wants"),
    [
        ("qwen-image-edit-2511", "qwen-image-edit-2509", True, False),
        ("qwen-image-edit-2509", "qwen-image-edit-2511", False, True),
    ],
)
def test_a_siblings_weights_are_refused(
    *, folders: dict[str, Path], weights: str, name: str, says: bool, wants: bool
) -> None:
    message = f"transformer has zero_cond_t {says}, {name} has {wants}: are these a sibling's"

    with pytest.raises(BadSettings, match=message):
        load(folders[weights], tiny_row(name))


def test_a_limited_licence_is_asked_for_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="PACKSHOT_LICENCES"):
        load(tmp_path, model_row("flux.1-kontext-dev"))
    accepted = Options(licences=("flux.1-kontext-dev",))
    with pytest.raises(BadSettings, match=r"no model_index\.json"):
        load(tmp_path, model_row("flux.1-kontext-dev"), accepted)


@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_every_rows_pipeline_takes_the_engines_call(row: ModelRow) -> None:
    call = inspect.signature(getattr(diffusers, row.pipeline).__call__).parameters

    assert set(call) >= ARGUMENTS | {row.guidance}
    assert ("negative_prompt" in call) or not row.takes_negative
    assert row.area_argument is None or row.area_argument in call
