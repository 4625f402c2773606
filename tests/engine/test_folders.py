"""Folders of weights that are not whole, or not this model's: refused at the start, by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
import torch
from safetensors.torch import load_file, save_file

from jobs.errors import BadSettings
from tests.engine.variants import TINY, load, variant
from worker.engine.diffusers import engine as engines
from worker.engine.diffusers.pipeline import load_pipeline

pytestmark = pytest.mark.engine
Tensors = dict[str, torch.Tensor]

FILES = {
    "text_encoder": "model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (["their_own_package", "Transformer"], r"code of its own \(their_own_package\)"),
        (["diffusers", "AutoencoderKLQwenImage"], "transformer"),
        (["diffusers", "NoSuchTransformer"], "transformer: diffusers has no NoSuchTransformer"),
    ],
)
def test_a_part_that_cannot_be_loaded_is_named(
    random_folder: Path, tmp_path: Path, value: list[str], told: str
) -> None:
    folder = variant(random_folder, tmp_path / "model", "model_index.json", transformer=value)
    (folder / "transformer" / "config.json").unlink()

    with pytest.raises(BadSettings, match=told):
        load(folder, TINY)


def changed(source: Path, folder: Path, part: str, change: Callable[[Tensors], None]) -> Path:
    """A copy of ``source`` in which that part's weights are others."""
    copytree(source, folder)
    file = folder / part / FILES[part]
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("part", FILES)
def test_a_weight_that_the_files_lack_is_not_drawn_at_random(
    random_folder: Path, tmp_path: Path, part: str
) -> None:
    def lose(tensors: Tensors) -> None:
        del tensors[next(name for name in sorted(tensors) if name.endswith("bias"))]

    folder = changed(random_folder, tmp_path / "model", part, lose)

    with pytest.raises(BadSettings, match=rf"{part}: lacks \S+bias$"):
        load(folder, TINY)


@pytest.mark.parametrize("part", FILES)
def test_a_weight_without_a_place_is_not_dropped(
    random_folder: Path, tmp_path: Path, part: str
) -> None:
    folder = changed(
        random_folder,
        tmp_path / "model",
        part,
        lambda tensors: tensors.update({"another.weight": torch.ones(2)}),
    )

    with pytest.raises(BadSettings, match=rf"{part}: has no place for another\.weight$"):
        load(folder, TINY)


def test_a_configuration_of_fewer_layers_than_the_files_is_refused(
    random_folder: Path, tmp_path: Path
) -> None:
    folder = variant(random_folder, tmp_path / "model", "transformer/config.json", num_layers=1)

    with pytest.raises(BadSettings, match=r"no place for transformer_blocks\.1\..* and \d+ more$"):
        load(folder, TINY)


def test_the_layer_that_names_words_may_be_left_out(random_folder: Path, tmp_path: Path) -> None:
    """Nothing reads it, and it is 1.1 GB of the full model."""
    file = "text_encoder/config.json"
    language = json.loads((random_folder / file).read_text())["text_config"]
    folder = variant(
        random_folder,
        tmp_path / "model",
        file,
        text_config=language | {"tie_word_embeddings": False},
        tie_word_embeddings=False,
    )

    load_pipeline(folder, TINY, "cpu")


@pytest.mark.parametrize("part", FILES)
def test_a_file_that_was_cut_off_is_named_by_its_part(
    random_folder: Path, tmp_path: Path, part: str
) -> None:
    folder = tmp_path / "model"
    copytree(random_folder, folder)
    file = folder / part / FILES[part]
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(BadSettings, match=f"model folder .*: {part}: "):
        load(folder, TINY)


def test_an_index_that_was_cut_off_is_named(random_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    copytree(random_folder, folder)
    (folder / "model_index.json").write_text("{")

    with pytest.raises(BadSettings, match=r"model_index\.json is damaged"):
        load(folder, TINY)


def test_files_that_differ_from_their_sums_are_refused_before_they_are_loaded(
    random_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real model takes minutes, and a card's memory."""
    folder = tmp_path / "model"
    copytree(random_folder, folder)
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  transformer/config.json\n")
    loaded: list[object] = []
    monkeypatch.setattr(engines, "load_pipeline", lambda *it, **_: loaded.append(it))

    with pytest.raises(BadSettings, match=r"not as SHA256SUMS says: transformer/config\.json"):
        load(folder, TINY)
    assert loaded == []


def test_a_folder_of_another_model_is_refused_before_it_is_read(
    random_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = variant(random_folder, tmp_path / "model", "model_index.json", _class_name="Other")
    read: list[object] = []
    monkeypatch.setattr(engines, "folder_revision", lambda *it, **_: read.append(it))

    with pytest.raises(BadSettings, match="is not a QwenImageEditPlusPipeline"):
        load(folder, TINY)
    assert read == []
