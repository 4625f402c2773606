from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from jobs.errors import BadSettings
from worker.engine.diffusers.models import MODELS, ModelRow, model_row
from worker.engine.diffusers.offer import (
    Offer,
    accept_licence,
    check_compiler,
    is_to_compile,
    name_compiler,
    offered,
)
from worker.engine.diffusers.placement import Placement
from worker.engine.diffusers.profiles import Load, Precision

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


@pytest.mark.parametrize(
    ("load", "placement", "device", "compiled"),
    [
        (Load(compiled=True), Placement.RESIDENT, "cuda", True),
        (Load(compiled=True), Placement.GROUP_OFFLOAD, "cuda", False),
        (Load(compiled=True), Placement.MODEL_OFFLOAD, "cuda", False),
        (Load(compiled=True), Placement.RESIDENT, "cpu", False),
        (Load(), Placement.RESIDENT, "cuda", False),
    ],
)
def test_blocks_are_compiled_where_they_stay_on_a_gpu(
    load: Load, placement: Placement, device: str, *, compiled: bool
) -> None:
    assert is_to_compile(load, placement, device) is compiled


def test_whoever_cannot_compile_is_told_all_that_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    offer = offered(REAL, tmp_path)

    with pytest.raises(BadSettings) as refused:
        check_compiler(offer, installed=lambda _package: False)

    assert str(refused.value) == (
        "profiles quality are compiled at start, which lacks the package triton (torch's build for"
        f" CUDA brings it), a C compiler (gcc or clang), Python's headers ({tmp_path}/Python.h):"
        " install it, or set PACKSHOT_COMPILED=false and have edits take up to a third longer"
    )


def test_a_compiler_that_cc_names_is_the_only_one_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gcc", "mine"):
        (tmp_path / name).touch(mode=0o755)
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    offer = offered(REAL, tmp_path)

    monkeypatch.setenv("CC", "mine")
    check_compiler(offer, installed=lambda _package: True)
    monkeypatch.setenv("CC", "")  # which triton would take for a name
    with pytest.raises(BadSettings, match=r"lacks a C compiler \(\): install"):
        check_compiler(offer, installed=lambda _package: True)
    monkeypatch.setenv("CC", "another")
    with pytest.raises(BadSettings, match=r"lacks a C compiler \(another\): install"):
        check_compiler(offer, installed=lambda _package: True)


def test_an_environments_own_compiler_goes_before_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what was packed, and a Python that is started by its path has it on no PATH."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gcc").touch(mode=0o755)
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("CC", "")
    monkeypatch.delenv("CC")
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})

    check_compiler(offered(REAL, tmp_path), installed=lambda _package: True)
    name_compiler()

    assert os.environ["CC"] == str(tmp_path / "bin" / "gcc")  # noqa: TID251 - where triton looks


def test_compiling_can_be_switched_off_and_nothing_else_changes(tmp_path: Path) -> None:
    offer = offered(REAL, tmp_path)

    assert offer.load.compiled
    assert offer.uncompiled().load == Load(group=offer.load.group)
    assert offer.uncompiled().profiles == offer.profiles
