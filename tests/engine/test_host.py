"""The host's memory at a start: what offloaded weights will take is known before they are read."""

from __future__ import annotations

import math
from pathlib import Path
from shutil import copytree

import pytest
from safetensors.torch import load_file

from jobs.errors import BadSettings
from tests.engine.variants import TINY, Loaded, load, loads_nothing
from worker.engine.diffusers import engine as engines
from worker.engine.diffusers import host
from worker.engine.diffusers.engine import Options
from worker.engine.diffusers.placement import GIB, Room

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    ("placement", "powers_of_two", "refused"),
    [("resident", False, False), ("model-offload", False, True), ("group-offload", True, True)],
)
def test_a_host_that_cannot_hold_what_is_offloaded_stops_the_start(
    random_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    placement: str,
    *,
    powers_of_two: bool,
    refused: bool,
) -> None:
    """Before the weights are read: the kernel would end the process without a word."""
    sizes = [
        2 * tensor.numel()
        for file in random_folder.glob("*/*.safetensors")
        for tensor in load_file(file).values()
    ]
    held = sum(2 ** math.ceil(math.log2(size)) if powers_of_two else size for size in sizes) / GIB
    monkeypatch.setattr(engines, "room_on", lambda _device: Room(free=24.0, total=24.0))
    monkeypatch.setattr(engines, "load_pipeline", loads_nothing)
    monkeypatch.setattr(host, "gib_available", lambda: held * 0.999)

    raised, words = (BadSettings, "of the host's memory") if refused else (Loaded, None)
    with pytest.raises(raised, match=words):
        load(random_folder, TINY, Options(placement=placement))
    monkeypatch.setattr(host, "gib_available", lambda: held)
    with pytest.raises(Loaded):
        load(random_folder, TINY, Options(placement=placement))


@pytest.mark.parametrize("placement", ["resident", "group-offload"])
def test_a_file_that_was_cut_off_is_left_to_loading_which_names_it(
    random_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, placement: str
) -> None:
    folder = tmp_path / "model"
    copytree(random_folder, folder)
    next((folder / "vae").glob("*.safetensors")).write_bytes(b"")
    monkeypatch.setattr(engines, "room_on", lambda _device: Room(free=24.0, total=24.0))

    with pytest.raises(BadSettings, match=r"model: vae: "):
        load(folder, TINY, Options(placement=placement))
