"""The doctor at this machine: the folder of the model, the card, the disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.worker.doctor_site import FINE, PROBLEM, SKIPPED, WARNING, rows_of
from worker.doctor import host
from worker.doctor.findings import Row, Verdict


def weights() -> bytes:
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0\0\0\0"


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """What stands in a folder of weights, with next to no weights."""
    parts = {"transformer": ["diffusers", "A"], "vae": ["diffusers", "B"]}
    index = {"_class_name": "QwenImageEditPlusPipeline", **parts}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for part in parts:
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text("{}")
        (tmp_path / part / "model.safetensors").write_bytes(weights())
    return tmp_path


def model_finding(ready: dict[str, str], folder: Path | None, **options: object) -> Row:
    options = {"model": "qwen-image-edit-2509-tiny", "profiles": "", **options}
    return rows_of(ready, engine="diffusers", model_dir=folder, **options)["model"]


def test_a_folder_of_the_right_model_is_fine(ready: dict[str, str], model_dir: Path) -> None:
    assert model_finding(ready, model_dir).finding.verdict is FINE


def _cut_short(folder: Path) -> None:
    (folder / "vae" / "model.safetensors").write_bytes(weights()[:-1])


def _without_a_part(folder: Path) -> None:
    for file in (folder / "vae").iterdir():
        file.unlink()
    (folder / "vae").rmdir()


def _without_a_shard(folder: Path) -> None:
    index = {"weight_map": {"x": "model-00001-of-00002.safetensors"}}
    (folder / "vae" / "model.safetensors.index.json").write_text(json.dumps(index))


def _without_an_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_cut_short, "vae/model.safetensors is cut short"),
        (_without_a_part, "vae is missing"),
        (_without_a_shard, "vae/model-00001-of-00002.safetensors is missing"),
        (_without_an_index, "no model_index.json"),
    ],
)
def test_a_folder_that_is_not_whole_is_told(
    ready: dict[str, str], model_dir: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(model_dir)
    finding = model_finding(ready, model_dir).finding

    assert finding.verdict is PROBLEM
    assert told in finding.found


def test_a_folder_of_another_model_is_told(ready: dict[str, str], model_dir: Path) -> None:
    other = model_finding(ready, model_dir, model="flux.2-klein-4b").finding
    sibling = model_finding(ready, model_dir, model="qwen-image-edit-2511").finding
    unknown = model_finding(ready, model_dir, model="dall-e").finding
    unset = model_finding(ready, None).finding

    assert {one.verdict for one in (other, sibling, unknown, unset)} == {PROBLEM}
    assert "Flux2KleinPipeline" in other.found
    assert "zero_cond_t" in sibling.found
    assert "PACKSHOT_MODEL_DIR" in unset.found


def test_a_limited_licence_that_nobody_accepted_is_told(
    ready: dict[str, str], model_dir: Path
) -> None:
    name = "flux.1-kontext-dev"
    silent = model_finding(ready, model_dir, model=name).finding
    accepted = model_finding(ready, model_dir, model=name, licences=name).finding

    assert silent.verdict is PROBLEM
    assert "PACKSHOT_LICENCES" in silent.found
    assert "FluxKontextPipeline" in accepted.found


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "none")


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize(
    ("options", "verdict", "told"),
    [
        ({"card": "0"}, WARNING, "lacks a C compiler (none)"),
        ({"card": "0", "placement": "resident"}, PROBLEM, "lacks a C compiler (none)"),
        ({"card": "0", "placement": "group-offload"}, SKIPPED, "nothing is to be compiled"),
        ({"card": "0", "compiled": False}, SKIPPED, "nothing is to be compiled"),
        ({"card": "cpu:0"}, SKIPPED, "nothing is compiled without a GPU"),
    ],
)
def test_a_compiler_is_asked_for_where_it_is_needed(
    ready: dict[str, str],
    model_dir: Path,
    options: dict[str, object],
    verdict: Verdict,
    told: str,
) -> None:
    rows = rows_of(
        ready, engine="diffusers", model_dir=model_dir, model="qwen-image-edit-2509", **options
    )
    finding = rows["compiler"].finding

    assert finding.verdict is verdict
    assert told in finding.found


def a_card(folder: Path, *, says: str, ends: int) -> str:
    """A PATH on which ``nvidia-smi`` says so."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{says}'\nexit {ends}\n")
    program.chmod(0o755)
    return f"{folder}:/bin:/usr/bin"


def test_a_card_that_answers_is_fine(
    ready: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "NVIDIA H100, 570.1, 80000 MiB, 81559 MiB"
    monkeypatch.setenv("PATH", a_card(tmp_path, says=says, ends=0))
    finding = rows_of(ready, card="0")["card"].finding

    assert (finding.verdict, finding.found) == (FINE, says)


def test_a_card_that_is_not_there_is_told(
    ready: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", a_card(tmp_path, says="No devices were found", ends=6))
    finding = rows_of(ready, card="7")["card"].finding

    assert finding.verdict is PROBLEM
    assert finding.found == "card 7: No devices were found"


def test_a_card_of_no_known_form_is_told(ready: dict[str, str]) -> None:
    assert rows_of(ready, card="the big one")["card"].finding.verdict is PROBLEM


def test_a_disk_that_is_full_is_told(
    ready: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "LEAST_DISK", 2**70)
    row = rows_of(ready)["disk"]

    assert row.finding.verdict is PROBLEM
    assert row.exit_code == 3
