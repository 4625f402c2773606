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
        assert image[0].condition.size == (width, height)
        return SimpleNamespace(images=[image[0].condition])

    monkeypatch.setattr(type(pipeline), "__call__", as_it_came)
    width, height = size
    source = Image.new("RGB", size)
    source.paste("white", (width // 5, height // 3, width // 5 + 40, height // 3 + 25))

    edit = engine.prepare([source], ask(size="source"), seed=1)
    picture = edit.finish(edit.on_card(lambda *_: None))

    assert picture.size == size
    assert np.abs(middle(picture) - middle(source)).max() < 0.25  # pixels
