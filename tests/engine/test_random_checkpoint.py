from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from jobs.model import EditRequest
from worker.engine.base import edited
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.revision import folder_revision
from worker.engine.tiny.__main__ import main
from worker.engine.tiny.checkpoint import write_checkpoint

pytestmark = pytest.mark.engine


def test_the_engine_loads_and_edits_with_it(
    random_folder: Path, ask: Callable[..., EditRequest], product: Image.Image
) -> None:
    engine = DiffusersEngine.load(random_folder, card="cpu:0", model="qwen-image-edit-2509-tiny")

    pictures = [edited(engine, [product] * count, ask(steps=2), seed=1) for count in (1, 2, 3)]

    assert [picture.size for picture in pictures] == [(128, 128)] * 3
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_its_layout_is_the_real_models(random_folder: Path, folder: Path) -> None:
    def names(root: Path) -> set[str]:
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    index = json.loads((random_folder / "model_index.json").read_text())

    assert names(random_folder) == names(folder) - {"README.md"}
    assert index["_class_name"] == "QwenImageEditPlusPipeline"
    assert index["text_encoder"] == ["transformers", "Qwen2_5_VLForConditionalGeneration"]


def test_equal_seeds_write_equal_weights(random_folder: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "same")
    write_checkpoint(tmp_path / "other", seed=1)

    assert folder_revision(tmp_path / "same") == folder_revision(random_folder)
    assert folder_revision(tmp_path / "other") != folder_revision(random_folder)


def test_the_command_overwrites_nothing(
    random_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tiny", str(random_folder)])

    assert main() == 2
    assert "is no empty folder" in capsys.readouterr().err
