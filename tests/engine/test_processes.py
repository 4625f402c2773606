from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

EDIT = """
import hashlib, sys
from pathlib import Path
from PIL import Image
from jobs.model import EditRequest
from worker.engine.diffusers.engine import DiffusersEngine

model = "qwen-image-edit-2509-tiny"
engine = DiffusersEngine.load(Path(sys.argv[1]), card="cpu:0", model=model, threads=1)
request = EditRequest(
    pictures=("0" * 64,), instruction="make it white", model=model, steps=2, true_cfg_scale=2.0
)
pictures = [Image.new("RGB", (150, 100), colour) for colour in ("red", "blue")]
picture = engine.edit(pictures, request, seed=5, on_step=lambda *_: None)
print(hashlib.sha256(picture.tobytes()).hexdigest(), engine.model.revision)
"""


def test_two_fresh_processes_make_the_same_bytes(random_folder: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", EDIT, str(random_folder)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    one, other = (process.communicate(timeout=120)[0].split() for process in processes)

    assert len(one) == 2
    assert one == other
