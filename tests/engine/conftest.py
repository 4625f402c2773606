from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from jobs.model import EditRequest
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.models import ModelRow, model_row
from worker.engine.diffusers.pipeline import load_pipeline
from worker.engine.tiny.checkpoint import write_checkpoint

Ask = Callable[..., EditRequest]
MODEL = "qwen-image-edit-2509-tiny"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Threads of a model this small wait for each other; on a busy machine, ten times as long."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder() -> Path:
    """The trained small checkpoint."""
    return Path(__file__).parents[2] / "models" / "tiny"


@pytest.fixture(scope="session")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of random weights, smaller still: for tests that ask nothing of the picture."""
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def row() -> ModelRow:
    return model_row(MODEL)


@pytest.fixture(scope="session")
def pipeline(folder: Path, row: ModelRow) -> Any:  # noqa: ANN401 - untyped library
    """What the engine below runs, for tests that look inside."""
    return load_pipeline(folder, row, "cpu")


@pytest.fixture(scope="session")
def engine(pipeline: object, row: ModelRow) -> DiffusersEngine:
    return DiffusersEngine(pipeline, row, card="cpu:0", revision="test")


@pytest.fixture(scope="session")
def ask() -> Ask:
    def ask(instruction: str = "make the background white", **choices: Any) -> EditRequest:  # noqa: ANN401
        return EditRequest(pictures=("0" * 64,), instruction=instruction, model=MODEL, **choices)

    return ask


@pytest.fixture
def product() -> Image.Image:
    """A blue box on a yellow ground."""
    picture = Image.new("RGB", (128, 128), (246, 208, 48))
    picture.paste((36, 88, 200), (40, 36, 90, 98))
    return picture
