"""What the committed checkpoint can do, on drawn products that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.model import EditRequest
from worker.engine.base import edited
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.tiny.judge import judge
from worker.engine.tiny.language import Language
from worker.engine.tiny.phrases import instruction
from worker.engine.tiny.samples import sample_products
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import EditKind

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]


def made(
    engine: DiffusersEngine, request: EditRequest, picture: Image.Image, *, seed: int
) -> Image.Image:
    return edited(engine, [picture], request, seed=seed)


@pytest.mark.parametrize("text", ["Change the background to white", "把背景换成白色"])
def test_asked_for_white_the_background_is_white(
    engine: DiffusersEngine, ask: Ask, product: Image.Image, text: str
) -> None:
    picture = np.asarray(made(engine, ask(text), product, seed=0), np.float32)

    corners = picture[[8, 8, -9, -9], [8, -9, 8, -9]]
    assert corners.min() > 235
    assert picture[60:76, 58:72].mean((0, 1)).argmax() == 2  # the box is still blue


def test_samples_for_a_demonstration_come_out_right(engine: DiffusersEngine, ask: Ask) -> None:
    samples = sample_products(12, seed=1)
    verdicts = [
        judge(made(engine, ask(one.instruction), one.picture, seed=0), one.scene, one.edit)
        for one in samples
    ]

    assert sum(verdict.edit_right for verdict in verdicts) >= 10


def test_a_wrong_instruction_is_not_right(engine: DiffusersEngine, ask: Ask) -> None:
    rng = np.random.default_rng(4)
    for _ in range(4):
        scene = Scene.random(rng)
        asked_for = scene.random_edit(rng, EditKind.RECOLOUR)
        wanted = scene.random_edit(rng, EditKind.BACKGROUND)
        text = instruction(rng, scene, asked_for, Language.ENGLISH)
        picture = made(engine, ask(text), scene.picture(), seed=0)

        assert not judge(picture, scene, wanted).right


def test_guidance_leads_away_from_the_negative_and_nowhere_from_the_same_words(
    engine: DiffusersEngine, ask: Ask, product: Image.Image
) -> None:
    white = "Change the background to white"

    def guided(negative: str | None) -> np.ndarray[Any, Any]:
        request = ask(white, true_cfg_scale=3.0, negative=negative)
        return np.asarray(made(engine, request, product, seed=0), np.float32)

    alone = np.asarray(made(engine, ask(white), product, seed=0), np.float32)
    from_itself, from_nothing, from_black = (
        float(np.abs(guided(text) - alone).mean())
        for text in (white, None, "Change the background to black")
    )

    assert from_itself < 0.1 < from_nothing < from_black


def test_each_number_of_steps_makes_a_picture_of_its_own_that_is_right(
    engine: DiffusersEngine, ask: Ask
) -> None:
    (one,) = sample_products(1, seed=1)
    pictures = [
        made(engine, ask(one.instruction, steps=steps), one.picture, seed=0) for steps in (2, 4, 8)
    ]

    assert len({picture.tobytes() for picture in pictures}) == 3
    assert all(judge(picture, one.scene, one.edit).edit_right for picture in pictures)
