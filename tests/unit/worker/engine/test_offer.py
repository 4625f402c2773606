from __future__ import annotations

import logging
from pathlib import Path

import pytest

from jobs.errors import BadSettings
from worker.engine.diffusers.models import MODELS, ModelRow, model_row
from worker.engine.diffusers.offer import Offer, accept_licence, offered
from worker.engine.diffusers.profiles import Precision

REAL = model_row("qwen-image-edit-2509")
EIGHT_STEPS = "Qwen-Image-Edit-2509-Lightning-8steps-V1.0-bf16.safetensors"
FOUR_STEPS = "Qwen-Image-Edit-2509-Lightning-4steps-V1.0-bf16.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One that holds the few-step weights."""
    (tmp_path / "lora").mkdir()
    for name in (EIGHT_STEPS, FOUR_STEPS):
        (tmp_path / "lora" / name).touch()
    return tmp_path


def names(offer: Offer) -> list[str]:
    return [profile.name for profile in offer.profiles]


def test_unasked_all_profiles_of_the_first_load_are_served(tmp_path: Path) -> None:
    assert names(offered(REAL, tmp_path)) == ["quality"]
    assert names(offered(model_row("qwen-image-edit-2509-tiny"), tmp_path)) == [
        "quality",
        "balanced",
        "fast",
    ]


def test_what_is_left_out_is_logged_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    offered(REAL, tmp_path, installed=lambda _package: True)

    told = {record.__dict__["profile"]: record.__dict__["why"] for record in caplog.records}
    assert told["fast"] == f"lacks the file lora/{FOUR_STEPS}"
    assert told["cached"] == "another load: ask for it by name"


def test_one_asked_for_brings_its_load(folder: Path) -> None:
    offer = offered(REAL, folder, ["balanced"])

    assert names(offer) == ["balanced"]
    assert offer.load.group == "lightning-8"
    assert offer.load.lora == EIGHT_STEPS
    assert offer.load.scheduler["shift_terminal"] is None
    assert offer.load.scheduler["base_shift"] == pytest.approx(1.0986, abs=1e-4)


def test_one_asked_for_without_its_files_is_refused_with_all_that_is_missing(
    tmp_path: Path,
) -> None:
    with pytest.raises(BadSettings) as refused:
        offered(REAL, tmp_path, ["fast", "quality-fp8"], installed=lambda _package: False)

    assert str(refused.value) == (
        f"profiles of qwen-image-edit-2509 in {tmp_path}: fast lacks the file lora/{FOUR_STEPS};"
        " quality-fp8 lacks the package torchao"
    )


def test_profiles_of_two_loads_are_two_workers(folder: Path) -> None:
    with pytest.raises(BadSettings, match=r"need 2 loads .*default, lightning-4.*a worker for"):
        offered(REAL, folder, ["quality", "fast"])


def test_an_unknown_profile_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"has quality, balanced, .*, not best"):
        offered(REAL, tmp_path, ["best"])


def test_a_limited_licence_must_be_accepted() -> None:
    kontext = model_row("flux.1-kontext-dev")

    accept_licence(REAL, [])
    accept_licence(kontext, ["flux.1-kontext-dev"])
    with pytest.raises(BadSettings, match=r"Non-Commercial License: read it.*PACKSHOT_LICENCES"):
        accept_licence(kontext, [REAL.name])


@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_one_group_is_one_load(row: ModelRow) -> None:
    loads = {profile.load.group: profile.load for profile in row.profiles}

    assert all(profile.load == loads[profile.load.group] for profile in row.profiles)
    assert len({profile.name for profile in row.profiles}) == len(row.profiles)


def test_what_changes_pictures_is_never_in_quality() -> None:
    for row in MODELS.values():
        load = row.profiles[0].load
        assert (load.lora, load.step_cache, load.precision) == (None, None, Precision.BF16)
