from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from PIL import Image

from jobs.errors import OutOfResources
from jobs.model import EditRequest, ServedModel
from worker.engine.base import Engine, Interrupted, edited
from worker.engine.fake import FakeEngine

DIGEST = "0" * 64


def asked(instruction: str = "make it red", *, pictures: int = 1, **choices: object) -> EditRequest:
    return EditRequest(pictures=(DIGEST,) * pictures, instruction=instruction, **choices)  # type: ignore[arg-type]


def product(size: tuple[int, int] = (40, 30)) -> Image.Image:
    picture = Image.new("RGB", size, (200, 220, 210))
    picture.paste((180, 40, 30), (10, 8, 30, 24))
    return picture


def made(request: EditRequest, *, seed: int = 1, pictures: int = 1) -> Image.Image:
    return edited(FakeEngine(), [product()] * pictures, request, seed=seed)


def test_it_is_an_engine() -> None:
    engine: Engine = FakeEngine()
    engine.warm_up()

    assert engine.model.queue == "edit.fake.default"
    assert engine.model.profiles == ("quality", "balanced", "fast")
    assert engine.card == "cpu:0"


@pytest.mark.parametrize(
    "other",
    [
        asked("make it blue"),
        asked(steps=9),
        asked(true_cfg_scale=2.0),
        asked(negative="blurred"),
        asked(profile="fast"),
    ],
)
def test_another_request_gives_another_picture(other: EditRequest) -> None:
    assert made(asked()).tobytes() != made(other).tobytes()


def test_a_reference_changes_the_picture() -> None:
    assert made(asked()).tobytes() != made(asked(pictures=2), pictures=2).tobytes()


def test_even_a_grey_source_changes() -> None:
    grey = Image.new("RGB", (8, 8), (128, 128, 128))

    after = edited(FakeEngine(), [grey], asked(), seed=1)

    assert after.tobytes() != grey.tobytes()


@pytest.mark.parametrize(("steps", "total"), [(None, 4), (2, 2)])
def test_every_step_is_told_in_order(steps: int | None, total: int) -> None:
    told: list[tuple[int, int]] = []

    edited(
        FakeEngine(),
        [product()],
        asked(steps=steps),
        seed=1,
        on_step=lambda done, of: told.append((done, of)),
    )

    assert told == [(done, total) for done in range(1, total + 1)]


def test_an_interrupt_ends_the_edit_and_leaves_no_trace() -> None:
    engine = FakeEngine()
    told: list[int] = []

    def stop_after_two(done: int, total: int) -> None:
        told.append(total)
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        edited(engine, [product()], asked(), seed=1, on_step=stop_after_two)
    after = edited(engine, [product()], asked(), seed=1)

    assert len(told) == 2
    assert after.tobytes() == made(asked()).tobytes()


def test_each_step_waits_its_seconds() -> None:
    waited: list[float] = []
    engine = FakeEngine(steps=3, step_seconds=0.25, wait=waited.append)

    edited(engine, [product()], asked(), seed=1)

    assert waited == [0.25] * 3


@pytest.fixture
def slow() -> Iterator[FakeEngine]:
    engine = FakeEngine(steps=1, step_seconds=60.0)
    yield engine
    engine.close()


def test_closing_ends_a_wait(slow: FakeEngine) -> None:
    edit = threading.Thread(target=edited, args=(slow, [product()], asked()), kwargs={"seed": 1})
    edit.start()

    slow.close()
    edit.join(timeout=10)

    assert not edit.is_alive()


def test_a_fault_is_raised_at_its_step() -> None:
    told: list[int] = []

    def fail_at_three(request: EditRequest, step: int) -> None:
        if step == 3:
            raise OutOfResources(request.instruction)

    engine = FakeEngine(fault=fail_at_three)

    with pytest.raises(OutOfResources, match="make it red"):
        edited(engine, [product()], asked(), seed=1, on_step=lambda done, _: told.append(done))
    assert told == [1, 2]


def test_it_plays_any_model() -> None:
    other = ServedModel(name="other", revision="r", profile_group="g", profiles=("quality",))

    assert FakeEngine(model=other, card="GPU-1").model is other
