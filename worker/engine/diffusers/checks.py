"""Refusing what the pipeline would choke on, or take without doing it; before the card works."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from PIL import Image

from jobs.errors import Permanent
from jobs.model import EditRequest
from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.sizes import ROPE_POSITIONS, Size, rope_reach


class Words:
    """Counts tokens as the model does.

    With a tokenizer of its own: FLUX's pipelines use theirs while the card works on another
    edit, and cut and pad with it, which it remembers.
    """

    def __init__(self, pipeline: Any, row: ModelRow) -> None:  # noqa: ANN401 - untyped library
        self._tokenizer = copy.deepcopy(getattr(pipeline, row.tokenizer))
        self._template = pipeline.prompt_template_encode if row.sees_pictures else "{}"
        self.marks: Sequence[str] = tuple(self._tokenizer.get_added_vocab())
        self.template = self.tokens("")

    def tokens(self, text: str) -> int:
        """Of the text inside the pipeline's fixed template, pictures left out."""
        return len(self._tokenizer(self._template.format(text), verbose=False).input_ids)


def check_request(
    words: Words,
    row: ModelRow,
    pictures: Sequence[Image.Image],
    request: EditRequest,
) -> None:
    """Raises ``Permanent``: another attempt would fail the same way."""
    if not 1 <= len(pictures) <= row.max_pictures:
        raise Permanent(f"pictures: {_up_to(row.max_pictures)}, got {len(pictures)}")
    for number, picture in enumerate(pictures, start=1):
        _check_picture(number, picture, row)
    if request.steps is not None and request.steps < row.min_steps:
        raise Permanent(f"steps: {row.min_steps} or more, got {request.steps}")
    _check_text(words, row, "instruction", request.instruction)
    if request.negative is not None:
        _check_text(words, row, "negative", request.negative)
        if not row.takes_negative and request.negative.strip():
            raise Permanent(f"negative: {row.name} takes none")
    if not row.guidance_is_free and request.true_cfg_scale not in {None, 1.0}:
        raise Permanent(f"true_cfg_scale: {row.name} has no guidance to set")


def check_reach(
    words: Words,
    row: ModelRow,
    canvas: Size,
    pictures: Sequence[Image.Image],
    request: EditRequest,
) -> None:
    """Raises ``Permanent`` when the transformer's table of positions is too short."""
    if not row.sees_pictures:
        return
    texts = (request.instruction, request.negative or "")
    text = max(words.tokens(one) for one in texts)
    reach = rope_reach(row, canvas, [picture.size for picture in pictures], text)
    if reach > ROPE_POSITIONS:
        raise Permanent(
            f"the request reaches position {reach}, the model knows {ROPE_POSITIONS}: ask for a"
            " squarer picture, or say it shorter"
        )


def _up_to(most: int) -> str:
    return f"1 to {most}" if most > 1 else "1"


def _check_picture(number: int, picture: Image.Image, row: ModelRow) -> None:
    if picture.mode != "RGB":
        raise Permanent(f"picture {number}: must be RGB, is {picture.mode}")
    width, height = picture.size
    if max(width, height) > row.max_aspect * min(width, height):
        raise Permanent(
            f"picture {number}: {width}x{height}, at most {row.max_aspect}:1 can be edited"
        )
    if min(width, height) < row.min_side:
        raise Permanent(
            f"picture {number}: {width}x{height}, sides of {row.min_side} pixels or more"
        )


def _check_text(words: Words, row: ModelRow, what: str, text: str) -> None:
    for mark in words.marks:
        if mark in text:
            raise Permanent(f"{what}: contains {mark}, which marks parts of the template")
    tokens, window = words.tokens(text) - words.template, row.max_tokens - words.template
    if tokens > window:
        raise Permanent(f"{what}: at most {window} tokens, got {tokens}; say it shorter")
