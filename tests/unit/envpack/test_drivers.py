"""Drivers are compared by whole dotted versions, as NVIDIA's tables say."""

from __future__ import annotations

import pytest

from envpack.node.drivers import (
    FLOORS,
    LIMITED,
    SUITABLE,
    TOO_OLD,
    TOOLKIT_DRIVERS,
    drivers_for,
    judged,
    numbers,
)
from envpack.node.errors import InvalidManifest


@pytest.mark.parametrize(
    ("driver", "cuda", "verdict"),
    [
        ("525.60.12", "12.8", TOO_OLD),
        ("525.60.13", "12.8", LIMITED),
        ("570.26", "12.8", SUITABLE),
        ("580.65.06", "12.8", SUITABLE),  # newer majors run older toolkits
        ("616.00", "12.8", SUITABLE),
        ("580.65.05", "13.2", TOO_OLD),
        ("580.126.09", "13.2", LIMITED),
        ("595.45.04", "13.2", SUITABLE),
        ("450.80.02", "11.8", LIMITED),
    ],
)
def test_a_driver_is_judged_by_floor_and_toolkit(driver: str, cuda: str, verdict: str) -> None:
    asked = drivers_for(cuda)

    assert judged(driver, asked.minimum, asked.recommended) == verdict


def test_an_update_may_ask_for_more_than_its_first_release() -> None:
    assert drivers_for("12.8").recommended == "570.26"
    assert drivers_for("12.8.1").recommended == "570.124.06"


def test_a_minor_version_between_the_table_s_takes_the_one_before() -> None:
    assert drivers_for("12.7").recommended == "560.35.05"
    assert drivers_for("13.9").recommended == "610.43.02"


@pytest.mark.parametrize("cuda", ["10.2", "14.0", "twelve", "", "12.x"])
def test_a_cuda_that_nobody_knows_is_refused(cuda: str) -> None:
    with pytest.raises(InvalidManifest, match=r"CUDA|version"):
        drivers_for(cuda)


def test_no_toolkit_came_with_a_driver_below_its_floor() -> None:
    for cuda, driver in TOOLKIT_DRIVERS.items():
        assert numbers(driver) >= numbers(FLOORS[numbers(cuda)[0]])
