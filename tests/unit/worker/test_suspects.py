"""Pictures that a person should look at are found, and right ones are left alone."""

from __future__ import annotations

import pytest
from PIL import Image

from jobs.model import EditRequest
from tests.unit.worker.suspect_cases import Tried, share, tried
from worker.attempt.instructions import names_one_object
from worker.attempt.suspects import RULES, suspicion_of
from worker.engine.base import NOT_FINITE

SIZE = (96, 64)
OBJECT = "make the mug red"


@pytest.fixture(scope="module")
def cases() -> list[Tried]:
    return tried(3, side=512)


def photo() -> Image.Image:
    """A dark thing on a light ground."""
    picture = Image.new("RGB", SIZE, "white")
    picture.paste("navy", (30, 20, 66, 50))
    return picture


def code_of(picture: Image.Image, instruction: str = OBJECT) -> str | None:
    request = EditRequest(pictures=("0" * 64,), instruction=instruction)
    suspicion = suspicion_of(picture, photo(), request)
    return suspicion.code if suspicion else None


def test_no_right_edit_is_flagged(cases: list[Tried]) -> None:
    assert [one for one in cases if one.wanted is None and one.found is not None] == []


@pytest.mark.parametrize(
    ("code", "least"),
    [
        ("nan", 1.0),
        ("black", 1.0),
        ("flat", 1.0),
        ("unchanged", 0.85),
        ("changed_all_over", 0.85),
    ],
)
def test_what_is_planted_is_found(cases: list[Tried], code: str, least: float) -> None:
    planted = [one for one in cases if one.wanted == code]
    told = [one for one in planted if code != "changed_all_over" or one.object_named]

    assert share(one.found == code for one in told) >= least


def test_every_rule_is_measured(cases: list[Tried]) -> None:
    assert {one.wanted for one in cases} == {None, *(rule.code for rule in RULES)}


def test_a_picture_with_one_changed_thing_is_none() -> None:
    red = photo()
    red.paste("red", (30, 20, 66, 50))

    assert code_of(red) is None


def test_a_small_change_is_a_change() -> None:
    retouched = photo()
    retouched.paste("black", (4, 4, 6, 6))

    assert code_of(retouched) is None


def test_numbers_that_are_none_come_before_what_they_look_like() -> None:
    black = Image.new("RGB", SIZE)
    black.info[NOT_FINITE] = 0.25
    suspicion = suspicion_of(black, photo(), EditRequest(pictures=("0" * 64,), instruction="x"))

    assert suspicion is not None
    assert (suspicion.code, suspicion.message[:5]) == ("nan", "25.0%")


def test_a_change_all_over_is_no_wonder_where_another_scene_was_asked_for() -> None:
    other = Image.new("RGB", SIZE, "navy")
    other.paste("yellow", (30, 20, 66, 50))

    assert code_of(other) == "changed_all_over"
    assert code_of(other, "put the mug on a beach at night") is None


def test_another_shape_is_not_compared_part_by_part() -> None:
    other = Image.new("RGB", (64, 96), "navy")
    other.paste("yellow", (20, 20, 50, 50))

    assert code_of(other) is None


def test_a_source_of_one_colour_may_become_another() -> None:
    request = EditRequest(pictures=("0" * 64,), instruction=OBJECT)
    white, red, black = (Image.new("RGB", SIZE, colour) for colour in ("white", "red", "black"))
    still_black = suspicion_of(black, black, request)

    assert suspicion_of(red, white, EditRequest(pictures=("0" * 64,), instruction="red")) is None
    assert still_black is not None
    assert still_black.code == "unchanged"


@pytest.mark.parametrize(
    "instruction",
    [
        "replace the white T-shirt by a black hoodie with a panda",
        "change the colour of the mug",
        "Change the color of the mug to red, keep the background unchanged.",
        "remove the logo without changing the background",
        "add a red star to the shirt",
        "把杯子换成红色",
        "保持背景不变，把杯子换成红色",
        "去掉标志",
        "在衣服上加一个星星图案",
    ],
)
def test_one_object_is_named(instruction: str) -> None:
    assert names_one_object(instruction)


@pytest.mark.parametrize(
    "instruction",
    [
        "make the background white",
        "make the mug red and the background white",
        "put the mug on a wooden table",
        "replace whatever is behind the mug with red",
        "turn it into a watercolor painting",
        "make the scene look like winter",
        "brighten the picture",
        "change the lighting",
        "dress her in this hoodie",
        "a red mug",
        "把背景换成纯白色",
        "给杯子换一个红色背景",
        "把杯子放在沙滩上",
        "把整张照片变成油画",
        "杯子后面换成红色",
        "make the area around the mug red",
        "现在把底色换成白色",
        "把底换成紫色，其他保持不变",
    ],
)
def test_where_the_whole_may_change_no_object_is_named(instruction: str) -> None:
    assert not names_one_object(instruction)
