from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from jobs.errors import Permanent
from jobs.model import EditRequest
from tests.engine.flux import write_klein, write_kontext
from tests.engine.variants import load
from worker.engine.base import Interrupted, edited
from worker.engine.diffusers.engine import DiffusersEngine, Options
from worker.engine.diffusers.models import ModelRow, model_row
from worker.engine.diffusers.sizes import Size

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
KONTEXT, KLEIN = "flux.1-kontext-dev", "flux.2-klein-4b"
WIDE = Image.new("RGB", (200, 100), "red")


def small(name: str) -> ModelRow:
    area = 128 * 128
    return replace(model_row(name), vae_area=area, min_area=area, max_area=area)


@pytest.fixture(scope="module")
def engines(
    random_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, DiffusersEngine]:
    root = tmp_path_factory.mktemp("flux")
    engines = {}
    for name, write in ((KONTEXT, write_kontext), (KLEIN, write_klein)):
        tokenizer = transformers.Qwen2Tokenizer.from_pretrained(random_folder / "tokenizer")
        write(root / name, tokenizer)
        engines[name] = load(root / name, small(name), Options(licences=(KONTEXT,)))
    return engines


def made(engine: DiffusersEngine, request: EditRequest, *pictures: Image.Image) -> bytes:
    return edited(engine, pictures, request, seed=1).tobytes()


@pytest.mark.parametrize(("name", "size"), [(KONTEXT, (192, 96)), (KLEIN, (176, 80))])
def test_it_edits_at_the_sources_aspect_and_tells_its_steps(
    engines: dict[str, DiffusersEngine],
    ask: Ask,
    name: str,
    size: Size,
    capfd: pytest.CaptureFixture[str],
) -> None:
    told: list[tuple[int, int]] = []
    picture = edited(
        engines[name], [WIDE], ask(steps=2), seed=1, on_step=lambda *pair: told.append(pair)
    )

    assert picture.size == size
    assert [pair for pair, _ in groupby(told)] == [(0, 2), (1, 2), (2, 2)]
    assert capfd.readouterr() == ("", "")


def lit(light: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The middle of the light, as shares of width and height."""
    rows, columns = np.indices(light.shape) + 0.5
    shares = (columns / light.shape[1], rows / light.shape[0])
    return np.array([float((one * light).sum() / light.sum()) for one in shares])


@pytest.mark.parametrize("source", [(400, 300), (300, 200), (600, 200), (150, 450)])
@pytest.mark.parametrize("name", [KONTEXT, KLEIN])
def test_the_transformer_sees_the_whole_source_at_the_pictures_own_size(
    *,
    engines: dict[str, DiffusersEngine],
    ask: Ask,
    name: str,
    source: Size,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither squeezed to a size of another aspect, nor cropped: so nothing moves in the result."""
    width, height = source
    picture = Image.new("RGB", source)
    picture.paste("white", (width // 5, height // 3, width // 5 + 40, height // 3 + 40))
    vae, seen = engines[name]._pipeline.vae, []  # noqa: SLF001
    plain = vae.encode

    def encode(film: torch.Tensor, *arguments: Any, **choices: Any) -> Any:  # noqa: ANN401
        seen.append((film[0].mean(0).double().numpy() + 1) / 2)
        return plain(film, *arguments, **choices)

    monkeypatch.setattr(vae, "encode", encode)
    made = edited(engines[name], [picture], ask(steps=2), seed=1)

    (light,) = seen
    assert light.shape == (made.height, made.width)
    assert np.abs(lit(light) - lit(np.asarray(picture.convert("L"), np.float64))).max() < 0.003


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """What diffusers logs; it hands nothing on to the root."""
    library = logging.getLogger("diffusers")
    library.addHandler(caplog.handler)
    yield lambda: caplog.text
    library.removeHandler(caplog.handler)


@pytest.mark.parametrize("name", [KONTEXT, KLEIN])
def test_no_word_of_a_long_instruction_is_logged(
    engines: dict[str, DiffusersEngine], ask: Ask, name: str, heard: Callable[[], str]
) -> None:
    """CLIP sees 77 tokens of it; T5, whose window is not exceeded, sees it all."""
    logging.getLogger("diffusers.probe").warning("heard")
    made(engines[name], ask("paint the secret sign red " * 12, steps=2), WIDE)

    assert "heard" in heard()
    assert "sign" not in heard()


def test_kontexts_guidance_is_an_input_that_a_request_may_set(
    engines: dict[str, DiffusersEngine], ask: Ask
) -> None:
    plain, strong = (
        made(engines[KONTEXT], ask(steps=2, true_cfg_scale=scale), WIDE) for scale in (None, 9.0)
    )

    assert plain != strong


def test_klein_takes_references_and_no_guidance(
    engines: dict[str, DiffusersEngine], ask: Ask
) -> None:
    other = Image.new("RGB", (100, 100), "blue")

    assert made(engines[KLEIN], ask(steps=2), WIDE) != made(
        engines[KLEIN], ask(steps=2), WIDE, other
    )
    with pytest.raises(Permanent, match=r"true_cfg_scale: flux\.2-klein-4b has no guidance"):
        made(engines[KLEIN], ask(true_cfg_scale=2.0), WIDE)


@pytest.mark.parametrize(
    ("name", "choices", "pictures", "told"),
    [
        (KONTEXT, {"negative": "blurred"}, [WIDE], "negative: .* takes none"),
        (KONTEXT, {}, [WIDE, WIDE], "pictures: 1, got 2"),
        (KLEIN, {}, [Image.new("RGB", (63, 90))], "picture 1: 63x90, sides of 64 pixels or more"),
        (KLEIN, {"instruction": "很" * 500}, [WIDE], r"at most 480 tokens, got \d+"),
    ],
)
def test_what_it_cannot_do_is_refused(  # noqa: PLR0913 - fixtures
    *,
    engines: dict[str, DiffusersEngine],
    ask: Ask,
    name: str,
    choices: dict[str, Any],
    pictures: list[Image.Image],
    told: str,
) -> None:
    with pytest.raises(Permanent, match=told):
        made(engines[name], ask(**choices), *pictures)


@pytest.mark.parametrize("name", [KONTEXT, KLEIN])
def test_an_order_to_end_is_obeyed_before_a_picture_is_scaled(
    engines: dict[str, DiffusersEngine], ask: Ask, name: str
) -> None:
    def stop() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        engines[name].prepare([WIDE], ask(), seed=1, ask=stop)


@pytest.mark.parametrize(("name", "tokenizer"), [(KONTEXT, "tokenizer_2"), (KLEIN, "tokenizer")])
def test_counting_words_leaves_the_pipelines_tokenizer_alone(
    engines: dict[str, DiffusersEngine], ask: Ask, name: str, tokenizer: str
) -> None:
    """It remembers how it pads and cuts, and may be at work for the edit that is on the card."""
    engine = engines[name]
    made(engine, ask(steps=2), WIDE)
    used = getattr(engine._pipeline, tokenizer).backend_tokenizer  # noqa: SLF001
    before = (used.padding, used.truncation)

    engine.prepare([WIDE], ask("make it red " * 9), seed=1)

    assert any(before)
    assert (used.padding, used.truncation) == before
