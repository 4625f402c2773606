from __future__ import annotations

import pytest

from jobs.errors import BadSettings
from worker.engine.diffusers.models import MODELS, ModelRow, model_row
from worker.engine.diffusers.placement import AUTO, Placement, Room, choose
from worker.engine.diffusers.profiles import Precision

NEEDS = model_row("qwen-image-edit-2509").needs
FP8 = model_row("qwen-image-edit-2509").needs_fp8


def room(free: float, total: float | None = None) -> Room:
    return Room(free=free, total=total or free)


@pytest.mark.parametrize(
    ("free_gib", "placement"),
    [
        (139.0, Placement.RESIDENT),
        (78.5, Placement.RESIDENT),  # an 80 GB card
        (47.0, Placement.MODEL_OFFLOAD),  # a 48 GB one
        (23.5, Placement.GROUP_OFFLOAD),  # a 24 GB one
    ],
)
def test_auto_takes_the_fastest_that_fits_and_says_why(
    free_gib: float, placement: Placement
) -> None:
    placed = choose(AUTO, NEEDS, room(free_gib))

    assert placed.placement is placement
    assert placed.why == (
        f"{free_gib:.1f} GiB of the card are free, {placement} needs {NEEDS.of(placement):g}"
    )


def test_rounded_weights_fit_a_smaller_card() -> None:
    assert choose(AUTO, FP8, room(55.0)).placement is Placement.RESIDENT
    assert choose(AUTO, FP8, room(39.0)).placement is Placement.MODEL_OFFLOAD
    for free in (55.0, 39.0):
        assert (
            choose(AUTO, NEEDS, room(free)).placement is not choose(AUTO, FP8, room(free)).placement
        )


def test_a_placement_that_the_weights_cannot_have_is_never_taken() -> None:
    with pytest.raises(BadSettings, match=r"23\.5 GiB free, the smallest placement needs 34"):
        choose(AUTO, FP8, room(23.5))
    with pytest.raises(BadSettings, match="as resident, model-offload, not as group-offload"):
        choose("group-offload", FP8, room(139.0))


def test_a_card_too_small_for_any_is_refused_with_the_need() -> None:
    with pytest.raises(BadSettings, match=r"3\.0 GiB free, the smallest placement needs 8"):
        choose(AUTO, NEEDS, room(3.0))


def test_one_named_is_taken_fit_or_not() -> None:
    assert choose("resident", NEEDS, room(3.0)).placement is Placement.RESIDENT


@pytest.mark.parametrize("asked", [AUTO, "group-offload"])
def test_a_cpu_has_one_memory(asked: str) -> None:
    assert choose(asked, NEEDS, None).placement is Placement.RESIDENT


def test_the_ladder_ends() -> None:
    assert NEEDS.below(Placement.RESIDENT) is Placement.MODEL_OFFLOAD
    assert NEEDS.below(Placement.GROUP_OFFLOAD) is None
    assert FP8.below(Placement.MODEL_OFFLOAD) is None


@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_a_smaller_placement_never_needs_more(row: ModelRow) -> None:
    for precision in Precision:
        needs = row.needs_at(precision)
        gib = [needs.of(placement) or 0.0 for placement in needs.ladder]
        assert gib == sorted(gib, reverse=True)
        assert min(gib) > 0


def test_a_card_that_others_hold_a_part_of_is_told() -> None:
    """The placement is for the whole life of the process."""
    held, whole = (choose(AUTO, NEEDS, room(free, 79.2)) for free in (50.0, 78.5))

    assert (held.placement, held.missed) == (Placement.MODEL_OFFLOAD, Placement.RESIDENT)
    assert (whole.placement, whole.missed) == (Placement.RESIDENT, None)
    assert choose("model-offload", NEEDS, room(50.0, 79.2)).missed is None  # as it was wanted
