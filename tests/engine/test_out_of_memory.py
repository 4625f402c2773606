"""One more try with less on the card; and nothing of it in the next picture."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from jobs.errors import OutOfResources, WorkerFatal
from jobs.model import EditRequest
from tests.engine.faulty_card import FaultyCard
from tests.engine.variants import TINY, load
from worker.engine.base import Interrupted, edited
from worker.engine.diffusers import engine as engines
from worker.engine.diffusers import host
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.pipeline import load_pipeline
from worker.engine.diffusers.placement import Placement
from worker.engine.diffusers.placing import place

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
Pipeline = Any


@pytest.fixture(scope="module")
def own_pipeline(random_folder: Path) -> Pipeline:
    return load_pipeline(random_folder, TINY, "cpu")


@pytest.fixture(scope="module", params=[Placement.MODEL_OFFLOAD, Placement.GROUP_OFFLOAD])
def smaller(request: pytest.FixtureRequest) -> Placement:
    placement: Placement = request.param
    return placement


@pytest.fixture(scope="module")
def laddered(own_pipeline: Pipeline, smaller: Placement) -> DiffusersEngine:
    """With one placement under it: on the CPU the same hooks run, to no gain."""
    return DiffusersEngine(own_pipeline, TINY, card="cpu:0", revision="test", smaller=smaller)


@pytest.fixture(scope="module")
def fresh(random_folder: Path, ask: Ask) -> bytes:
    return made(load(random_folder, TINY), ask)


def made(engine: DiffusersEngine, ask: Ask, seed: int = 1) -> bytes:
    picture = Image.new("RGB", (128, 128), (246, 208, 48))
    return edited(engine, [picture], ask(steps=2), seed=seed).tobytes()


def test_the_second_try_makes_the_same_picture_with_less_on_the_card(  # noqa: PLR0913 - fixtures
    *,
    laddered: DiffusersEngine,
    smaller: Placement,
    own_pipeline: Pipeline,
    ask: Ask,
    fresh: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FaultyCard(own_pipeline, fails_at=(2,)).plugged_in() as card:
        picture = made(laddered, ask)

    (line,) = caplog.records
    assert picture == fresh
    assert card.passes == 2 + 2  # it began anew
    assert line.message == "out_of_memory"
    assert line.__dict__["retried_as"] == smaller


def test_a_second_lack_is_the_jobs_failure_and_leaves_no_trace(
    laddered: DiffusersEngine, own_pipeline: Pipeline, ask: Ask, fresh: bytes
) -> None:
    faulty = FaultyCard(own_pipeline, fails_at=(2, 4))
    with faulty.plugged_in(), pytest.raises(OutOfResources, match="at pass 4"):
        made(laddered, ask, seed=9)

    assert made(laddered, ask) == fresh
    assert laddered.placement is Placement.RESIDENT


def test_without_a_smaller_placement_the_first_lack_is_the_failure(
    engine: DiffusersEngine, pipeline: Pipeline, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[bool] = []
    monkeypatch.setattr(engines, "free_unused", lambda: freed.append(True))
    faulty = FaultyCard(pipeline, fails_at=(1,))
    with faulty.plugged_in() as card, pytest.raises(OutOfResources, match="at pass 1"):
        made(engine, ask)

    assert card.passes == 1
    assert freed  # the next edit finds what there is


def test_a_host_without_room_for_the_weights_is_not_asked_for_it(  # noqa: PLR0913 - fixtures
    *,
    laddered: DiffusersEngine,
    smaller: Placement,
    own_pipeline: Pipeline,
    ask: Ask,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The kernel would kill the process, and with it all jobs in hand."""
    needed = host.gib_of(own_pipeline, smaller)
    memory = tmp_path / "meminfo"
    too_little = 1.9 * needed  # nothing would be left for the jobs beside it
    memory.write_text(f"MemAvailable: {int(too_little * 1024 * 1024)} kB\n")
    monkeypatch.setattr(host, "MEMORY", memory)

    faulty = FaultyCard(own_pipeline, fails_at=(1,))
    with faulty.plugged_in() as card, pytest.raises(OutOfResources, match="at pass 1"):
        made(laddered, ask)

    (line,) = caplog.records
    assert card.passes == 1
    assert smaller.value in line.__dict__["not_retried"]


def test_steps_are_told_anew(
    laddered: DiffusersEngine, own_pipeline: Pipeline, ask: Ask, product: Image.Image
) -> None:
    told: list[int] = []
    with FaultyCard(own_pipeline, fails_at=(2,)).plugged_in():
        edited(
            laddered,
            [product],
            ask(steps=2),
            seed=1,
            on_step=lambda done, _total: told.append(done),
        )

    assert [done for done, _ in groupby(told)] == [0, 1, 0, 1, 2]


def test_a_model_that_cannot_be_put_back_ends_the_process(
    laddered: DiffusersEngine,
    own_pipeline: Pipeline,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def place_once(pipeline: Pipeline, placement: Placement, device: str, **tell: Any) -> None:  # noqa: ANN401
        if placement is Placement.RESIDENT:
            raise RuntimeError("CUDA error: out of memory")
        place(pipeline, placement, device, **tell)

    faulty = FaultyCard(own_pipeline, fails_at=(1,))
    with monkeypatch.context() as patch, faulty.plugged_in():
        patch.setattr(engines, "place", place_once)
        with pytest.raises(WorkerFatal, match="could not be placed as resident"):
            made(laddered, ask)
    place(own_pipeline, Placement.RESIDENT, "cpu")


def test_a_card_whose_memory_cannot_be_freed_ends_the_process(
    laddered: DiffusersEngine,
    own_pipeline: Pipeline,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    faulty = FaultyCard(own_pipeline, fails_at=(1,))
    with monkeypatch.context() as patch, faulty.plugged_in():
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "empty_cache", lost)
        with pytest.raises(WorkerFatal, match="memory could not be freed"):
            made(laddered, ask)


def test_what_is_unused_is_freed_before_a_retry_and_after_it(
    *,
    laddered: DiffusersEngine,
    smaller: Placement,
    own_pipeline: Pipeline,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Locked memory is unused only once the model is back in its place."""
    done: list[str] = []

    def placed(pipeline: Pipeline, placement: Placement, device: str, **how: Any) -> None:  # noqa: ANN401
        place(pipeline, placement, device, **how)
        done.append(placement.value + (" for one edit" if how["for_one_edit"] else ""))

    monkeypatch.setattr(engines, "place", placed)
    monkeypatch.setattr(engines, "free_unused", lambda: done.append("freed"))
    with FaultyCard(own_pipeline, fails_at=(2,)).plugged_in():
        made(laddered, ask)

    assert done == ["freed", f"{smaller} for one edit", "freed", "resident", "freed"]


def test_an_order_that_comes_while_parts_are_moved_waits_until_they_are(
    laddered: DiffusersEngine, own_pipeline: Pipeline, ask: Ask, fresh: bytes
) -> None:
    """Half here, half there, the next picture would be anything."""
    orders: list[int] = []
    source = Image.new("RGB", (128, 128), (246, 208, 48))
    with FaultyCard(own_pipeline, fails_at=(1,)).plugged_in() as card:

        def on_step(done: int, _total: int) -> None:
            if card.passes:  # from the fault on
                orders.append(done)
                raise Interrupted

        with pytest.raises(Interrupted):
            edited(laddered, [source], ask(steps=2), seed=1, on_step=on_step)

    assert len(orders) > 2  # signs of life on both ways
    assert card.passes == 1
    assert made(laddered, ask) == fresh
