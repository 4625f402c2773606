"""What is no number is told: afterwards the picture is only black."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from jobs.model import EditRequest
from worker.attempt.suspects import suspicion_of
from worker.engine.base import NOT_FINITE, edited
from worker.engine.diffusers.engine import DiffusersEngine

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
Pipeline = Any


@pytest.fixture
def spoil(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """From now on the VAE decodes that value into a share of the rows."""
    plain = pipeline.vae.decode

    def from_now_on(value: float, share: float) -> None:
        def decode(*arguments: Any, **choices: Any) -> Any:  # noqa: ANN401
            decoded = plain(*arguments, **choices)
            decoded[0][..., : int(decoded[0].shape[-2] * share), :] = value
            return decoded

        monkeypatch.setattr(pipeline.vae, "decode", decode)

    return from_now_on


def made(engine: DiffusersEngine, request: EditRequest, product: Image.Image) -> Image.Image:
    return edited(engine, [product], request, seed=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_picture_of_no_numbers_is_black_and_says_so(
    engine: DiffusersEngine,
    ask: Ask,
    product: Image.Image,
    spoil: Callable[[float, float], None],
    value: float,
) -> None:
    spoil(value, 1.0)

    request = ask(steps=2, size="77x60")
    edit = engine.prepare([product], request, seed=1)
    picture = edit.finish(edit.on_card(lambda _done, _total: None))
    suspicion = suspicion_of(picture, product, ask())

    assert picture.size == (77, 60)
    assert picture.getextrema() == ((0, 0),) * 3
    assert suspicion is not None
    assert suspicion.code == "nan"


def test_a_few_are_told_too(
    engine: DiffusersEngine,
    ask: Ask,
    product: Image.Image,
    spoil: Callable[[float, float], None],
) -> None:
    spoil(float("nan"), 0.25)

    picture = made(engine, ask(steps=2), product)

    assert picture.info[NOT_FINITE] == pytest.approx(0.25)


def test_numbers_are_not_told_of(engine: DiffusersEngine, ask: Ask, product: Image.Image) -> None:
    assert NOT_FINITE not in made(engine, ask(steps=2), product).info


def test_values_that_the_latents_lost_are_found_in_the_picture(
    engine: DiffusersEngine,
    pipeline: Pipeline,
    ask: Ask,
    product: Image.Image,
) -> None:
    """One is enough: attention spreads it over the whole picture."""

    def spoil(_module: object, _arguments: object, output: tuple[torch.Tensor]) -> None:
        output[0][0, 0, 0] = float("nan")

    hook = pipeline.transformer.register_forward_hook(spoil)
    try:
        picture = made(engine, ask(steps=2), product)
    finally:
        hook.remove()

    assert picture.info[NOT_FINITE] == 1.0
