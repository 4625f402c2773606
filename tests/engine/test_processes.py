from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

EDIT = """
import hashlib, sys
from pathlib import Path
import torch
from PIL import Image
from jobs.errors import OutOfResources
from jobs.model import EditRequest
from worker.engine.base import Interrupted, edited
from worker.engine.diffusers.engine import DiffusersEngine

model = "qwen-image-edit-2509-tiny"
engine = DiffusersEngine.load(Path(sys.argv[1]), card="cpu:0", model=model, threads=1)
request = EditRequest(
    pictures=("0" * 64,), instruction="make it white", model=model, steps=2, true_cfg_scale=2.0
)
pictures = [Image.new("RGB", (150, 100), colour) for colour in ("red", "blue")]

def ends(error):
    def on_step(done, _total):
        if done:
            raise error
    return on_step

for error in (Interrupted(), torch.OutOfMemoryError("CUDA out of memory")) * ("spoilt" in sys.argv):
    try:
        edited(engine, pictures[:1], request, seed=9, on_step=ends(error))
    except (Interrupted, OutOfResources) as ended:
        print(type(ended).__name__)
    else:
        sys.exit("it did not end")
picture = edited(engine, pictures, request, seed=5)
print(hashlib.sha256(picture.tobytes()).hexdigest(), engine.model.revision)
"""


def begin(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", EDIT, str(folder), *words], stdout=subprocess.PIPE, text=True
    )


def test_fresh_processes_and_one_that_was_cancelled_and_short_of_memory_make_the_same_bytes(
    random_folder: Path,
) -> None:
    processes = [begin(random_folder), begin(random_folder), begin(random_folder, "spoilt")]
    one, other, spoilt = (process.communicate(timeout=300)[0].split() for process in processes)

    assert len(one) == 2
    assert one == other
    assert spoilt == ["Interrupted", "OutOfResources", *one]
