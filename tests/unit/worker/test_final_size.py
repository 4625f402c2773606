from __future__ import annotations

import pytest
from PIL import Image

from jobs.model import EditRequest
from worker.final_size import at_final_size


@pytest.mark.parametrize(
    ("size", "wanted"), [("auto", (192, 96)), ("source", (201, 99)), ("77x140", (77, 140))]
)
def test_a_picture_gets_the_size_that_was_asked_for(size: str, wanted: tuple[int, int]) -> None:
    request = EditRequest(pictures=("0" * 64,), instruction="make it red", size=size)
    made = Image.new("RGB", (192, 96))
    made.info["note"] = 1

    final = at_final_size(made, request, (201, 99))

    assert final.size == wanted
    assert final.info == made.info  # what the engine tells of a picture stays with it
