from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.repairs import picture_areas

pytestmark = pytest.mark.engine


class Seen:
    """What the language model was called with, by a pipeline's prompt."""

    def __init__(self, pipeline: Any, row: ModelRow) -> None:  # noqa: ANN401 - untyped library
        self.ids = torch.empty(0)
        self.positions: torch.Tensor | None = None
        encoder = pipeline.text_encoder
        hooks = [
            encoder.register_forward_pre_hook(self._note_ids, with_kwargs=True),
            encoder.model.language_model.register_forward_pre_hook(
                self._note_positions, with_kwargs=True
            ),
        ]
        pictures = [Image.new("RGB", (128, 128), colour) for colour in ("red", "blue")]
        with picture_areas(pipeline, row), torch.no_grad():
            self.embeddings, _ = pipeline.encode_prompt("make it white", image=pictures)
        for hook in hooks:
            hook.remove()

    def _note_ids(self, _module: object, _args: object, arguments: dict[str, Any]) -> None:
        self.ids = arguments["input_ids"][0]

    def _note_positions(self, _module: object, _args: object, arguments: dict[str, Any]) -> None:
        self.positions = arguments["position_ids"]


def without_repair(pipeline: Any) -> Any:  # noqa: ANN401 - untyped library
    """The text encoder's own call, as its class defines it."""
    encoder = pipeline.text_encoder
    return type(encoder).forward.__get__(encoder)


def test_an_images_tokens_get_an_images_positions(
    pipeline: Any,  # noqa: ANN401 - untyped library
    row: ModelRow,
) -> None:
    seen = Seen(pipeline, row)
    image = seen.ids == pipeline.text_encoder.config.image_token_id

    assert int(image.sum()) == 2 * 4  # two pictures of 2 x 2 tokens
    assert seen.positions is not None
    time, height, width = seen.positions[:, 0, image].reshape(3, 2, 4)
    assert (time == time[:, :1]).all()
    assert (height - time).tolist() == [[0, 0, 1, 1]] * 2
    assert (width - time).tolist() == [[0, 1, 0, 1]] * 2


def test_without_the_repair_they_get_a_texts(
    pipeline: Any,  # noqa: ANN401 - untyped library
    row: ModelRow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Turns red once the library does it by itself: the repair can then go."""
    repaired = Seen(pipeline, row)
    monkeypatch.setattr(pipeline.text_encoder, "forward", without_repair(pipeline))
    plain = Seen(pipeline, row)

    assert plain.positions is None
    assert not torch.equal(plain.embeddings, repaired.embeddings)
