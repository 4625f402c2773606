"""What an environment is for: one real kernel of torch, and one edit of the fake engine."""

from __future__ import annotations

import torch
from PIL import Image

from jobs.model import EditRequest
from worker.engine.base import edited
from worker.engine.fake import FakeEngine


def main() -> None:
    square = torch.randn(1024, 1024)
    assert bool(torch.isfinite(square @ square).all())
    request = EditRequest(pictures=("0" * 64,), instruction="make it red")
    photo = Image.new("RGB", (256, 256), "white")
    picture = edited(FakeEngine(), [photo], request, seed=1)
    assert picture.size == photo.size


main()
