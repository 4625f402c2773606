from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from jobs.errors import Permanent
from jobs.model import EditRequest
from worker.engine.base import edited
from worker.engine.diffusers import checks
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.sizes import canvas_of, rope_reach

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]


@pytest.mark.parametrize("sizes", [[(128, 128)], [(300, 40), (40, 300)]])
def test_the_reach_is_never_less_than_what_is_looked_up(
    *,
    engine: DiffusersEngine,
    pipeline: Any,  # noqa: ANN401 - untyped library
    row: ModelRow,
    ask: Ask,
    sizes: list[tuple[int, int]],
) -> None:
    looked_up: list[int] = []

    def note(_module: object, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        shapes = positional[0][0]
        middle = max(side // 2 for _frame, *sides in shapes for side in sides)
        looked_up.append(middle + int(named["max_txt_seq_len"]))

    request = ask("make the background white " * 9, steps=2)
    pictures = [Image.new("RGB", size) for size in sizes]
    hook = pipeline.transformer.pos_embed.register_forward_pre_hook(note, with_kwargs=True)
    edited(engine, pictures, request, seed=1)
    hook.remove()

    canvas = canvas_of(row, request, sizes[0])
    text = checks.Words(pipeline, row).tokens(request.instruction)
    reach = rope_reach(row, canvas, sizes, text)

    assert max(looked_up) <= reach <= max(looked_up) + 150  # the template, and whole patches


def test_a_request_that_leaves_the_table_is_refused(
    engine: DiffusersEngine, ask: Ask, product: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "ROPE_POSITIONS", 50)

    with pytest.raises(Permanent, match=r"reaches position \d+, the model knows 50"):
        edited(engine, [product], ask(), seed=1)
