"""Drivers are judged by their whole version, by floor and by what the toolkit came with."""

from __future__ import annotations

import pytest

from envpack.node.drivers import explained, verdict


@pytest.mark.parametrize(
    ("driver", "cuda", "state"),
    [
        ("525.60.12", "12.0", "failed"),
        ("525.60.13", "12.0", "ok"),
        ("525.60.13", "12.8", "warning"),
        ("525.9.99", "12.0", "failed"),
        ("570.25", "12.8", "warning"),
        ("570.26", "12.8", "ok"),
        ("570.26.00", "12.8", "ok"),
        ("570.124.06", "12.8.1", "ok"),
        ("570.26", "12.8.1", "warning"),
        ("580.95.05", "12.4", "ok"),
        ("610.43.02", "11.8", "ok"),
        ("580.65.05", "13.0", "failed"),
        ("580.65.06", "13.0", "ok"),
        ("580.126.09", "13.2", "warning"),
        ("579.99.99", "13.3", "failed"),
        ("450.80.02", "11.8", "warning"),
        ("450.80.01", "11.8", "failed"),
        ("999.1", "14.0", "failed"),
        ("", "12.8", "failed"),
        ("N/A", "12.8", "failed"),
    ],
)
def test_a_driver_is_judged_by_floor_and_toolkit(driver: str, cuda: str, state: str) -> None:
    assert verdict(driver, cuda)[0] == state


def test_what_a_release_asks_for_comes_before_the_table() -> None:
    assert verdict("570.26", "12.8", minimum="575.51.03")[0] == "failed"
    assert verdict("570.26", "12.8", recommended="575.51.03")[0] == "warning"


def test_a_verdict_names_both_versions() -> None:
    assert verdict("525.60.12", "12.8") == (
        "failed",
        "driver 525.60.12 is older than 525.60.13, the oldest for CUDA 12.8",
    )


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("CUDA initialization: Error 803: system has unsupported display driver", "reboot"),
        ("RuntimeError: Unexpected error from cudaGetDeviceCount(): Error 804", "cuda-compat"),
        ("CUDA error: the provided PTX was compiled with an unsupported toolchain.", "PTX"),
        ("cuModuleLoadData failed (222)", "PTX"),
    ],
)
def test_faults_of_cuda_are_said_in_words_that_help(said: str, meaning: str) -> None:
    assert meaning in explained(said)


def test_other_faults_are_passed_on() -> None:
    assert explained("CUDA out of memory") == "CUDA out of memory"
