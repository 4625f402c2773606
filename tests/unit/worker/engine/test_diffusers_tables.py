from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.errors import BadSettings
from jobs.model import DEFAULT_MODEL, MAX_PICTURES, EditRequest
from worker.engine.diffusers.models import MODELS, ModelRow, model_row
from worker.engine.diffusers.revision import folder_revision
from worker.engine.diffusers.sizes import (
    ROPE_POSITIONS,
    Size,
    canvas_of,
    rope_reach,
)

REAL = model_row("qwen-image-edit-2509")
TINY = model_row("qwen-image-edit-2509-tiny")


def canvas(row: ModelRow, size: str, source: Size = (800, 600)) -> Size:
    request = EditRequest(pictures=("0" * 64,), instruction="make it red", size=size)
    return canvas_of(row, request, source)


def test_the_default_model_has_a_row() -> None:
    assert REAL.name == DEFAULT_MODEL
    assert REAL.max_pictures == MAX_PICTURES
    assert REAL.licence == "Apache-2.0"


@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_every_model_has_quality_and_guidance_has_something_to_lead_from(row: ModelRow) -> None:
    assert row.profiles[0].name == "quality"
    for profile in row.profiles:
        assert profile.steps >= row.min_steps
        assert profile.negative != "" or not row.takes_negative
        assert profile.changes.endswith(".")


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadSettings, match=r"qwen-image-edit-2509-tiny, .*, got 'sd-1'"):
        model_row("sd-1")


def test_auto_keeps_the_sources_aspect_at_the_models_area() -> None:
    assert canvas(REAL, "auto") == canvas(REAL, "source") == (1184, 896)
    assert canvas(TINY, "auto", (50, 50)) == (128, 128)


def test_a_named_size_is_computed_at_the_nearest_multiple_of_16() -> None:
    assert canvas(REAL, "1004x700") == (1008, 704)


@pytest.mark.parametrize(
    ("size", "computed"),
    [("4096x4096", (1536, 1536)), ("64x32", (720, 368)), ("512x4096", (512, 4096))],
)
def test_a_size_that_the_model_cannot_compute_is_scaled(size: str, computed: Size) -> None:
    assert canvas(REAL, size) == computed


@pytest.mark.parametrize("size", ["auto", "source", "512x4096", "4096x512", "1333x777"])
@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_every_canvas_is_legal(row: ModelRow, size: str) -> None:
    for source in ((1, row.max_aspect), (row.max_aspect, 1), (640, 480)):
        assert all(side > 0 and side % 16 == 0 for side in canvas(row, size, source))


def test_kleins_pipeline_finds_nothing_to_scale_or_crop() -> None:
    """It does both above 1 MP, and refuses more than 8:1 and sides below 64."""
    klein = model_row("flux.2-klein-4b")
    for source in ((8, 1), (1, 8), (4000, 3000), (3000, 1000), (1000, 1000), (801, 599)):
        width, height = canvas(klein, "source", source)

        assert width * height <= klein.vae_area == 1024 * 1024
        assert width * height / klein.vae_area > 0.7
        assert max(width, height) <= 8 * min(width, height)
        assert width / height == pytest.approx(source[0] / source[1], rel=0.03)


@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_no_request_within_the_limits_leaves_the_table(row: ModelRow) -> None:
    """Of the transformer's positions: the longest sides, the most pictures, the longest text."""
    long = (row.max_aspect, 1)
    for size in ("auto", "512x4096", "4096x4096"):
        reach = rope_reach(row, canvas(row, size, long), [long] * row.max_pictures, row.max_tokens)
        assert reach <= ROPE_POSITIONS


def test_equal_folders_have_equal_revisions(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "vae").mkdir(parents=True)
        (tmp_path / name / "vae" / "weights").write_bytes(b"abc")
    one, two = tmp_path / "one", tmp_path / "two"
    before = folder_revision(one)

    assert before == folder_revision(two)
    assert len(before) == 16
    (one / "README.md").write_text("a card decides no pixel")
    assert folder_revision(one) == before
    (two / "vae" / "weights").write_bytes(b"abd")
    assert folder_revision(two) != before


@pytest.mark.parametrize(
    "module",
    [
        "worker.engine.fake",
        "worker.engine.diffusers",
        "worker.engine.diffusers.models",
        "worker.engine.diffusers.offer",
        "worker.engine.diffusers.placement",
        "worker.engine.diffusers.sizes",
        "worker.engine.diffusers.revision",
        "worker.engine.tiny",
        "worker.engine.tiny.samples",
        "worker.engine.tiny.judge",
    ],
)
def test_importing_it_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
