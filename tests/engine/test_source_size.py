"""An edit at the source's own size: nothing may be shifted or zoomed on the way."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.model import EditRequest
from worker.engine.diffusers.engine import DiffusersEngine
from worker.final_size import at_final_size

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]


def middle(picture: Image.Image) -> np.ndarray[Any, Any]:
    """Of the light, in pixels from the corner."""
    light = np.asarray(picture.convert("L"), np.float64)
    rows, columns = np.indices(light.shape) + 0.5
    weighed = [float((one * light).sum() / light.sum()) for one in (columns, rows)]
    return np.array(weighed)


@pytest.mark.parametrize("size", [(301, 199), (199, 301), (640, 90), (128, 128), (1000, 1000)])
def test_a_picture_of_the_sources_size_has_everything_where_it_was(
    *,
    engine: DiffusersEngine,
    pipeline: Any,  # noqa: ANN401 - untyped library
    ask: Ask,
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model itself is taken out: it hands back what it is given to see."""

    def as_it_came(self: Any, *, image: Any, width: int, height: int, **_: object) -> Any:  # noqa: ANN401
        self._interrupt = False
        seen = self.image_processor.resize(image[0], height, width)
        return SimpleNamespace(images=[seen])

    monkeypatch.setattr(type(pipeline), "__call__", as_it_came)
    width, height = size
    source = Image.new("RGB", size)
    source.paste("white", (width // 5, height // 3, width // 5 + 40, height // 3 + 25))

    request = ask(size="source")
    made = engine.edit([source], request, seed=1, on_step=lambda *_: None)
    picture = at_final_size(made, request, size)

    assert picture.size == size
    assert np.abs(middle(picture) - middle(source)).max() < 0.25  # pixels
