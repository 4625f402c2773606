"""What a Qwen pipeline makes of pictures and texts on the processor, made before it is called.

The pipeline scales each picture twice, turns it into numbers and cuts the texts into tokens
while the card waits.  Here its own processors do all that beforehand, on another thread than
the card's; then the pipeline is handed a ``Seen`` in a picture's place, and what it asks its
processors to make of that one is there already.  So nothing can differ but when it is made.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from PIL import Image
from transformers import BatchFeature

from worker.engine.base import Ask, go_on
from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.phases import asking_before
from worker.engine.diffusers.sizes import Size, condition_size, seen_size

#: Stands before the text, once for each picture; a pipeline of one picture has it in its template.
PICTURE_LABEL: Final = "Picture {}: <|vision_start|><|image_pad|><|vision_end|>"


class NotForeseen(RuntimeError):
    """The pipeline asks for something else than was made: the library has changed."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """One picture of an edit.  Its values are never written to: an edit may be tried twice."""

    size: Size  #: of the picture as it came: the pipeline takes the aspect from it
    condition: Image.Image  #: as the text encoder sees it
    values: torch.Tensor  #: for the VAE: [1, 3, height, width], from -1 to 1
    texts: Mapping[str, Mapping[str, torch.Tensor]]  #: the processor's for each whole text

    def at(self, size: Size) -> Seen:
        if size != self.condition.size:
            raise NotForeseen(f"a picture of {self.condition.size}, the pipeline wants {size}")
        return self

    def values_at(self, size: Size) -> torch.Tensor:
        height, width = self.values.shape[-2:]
        if size != (width, height):
            raise NotForeseen(f"values of {(width, height)}, the pipeline wants {size}")
        return self.values

    def beside(self, text: str) -> BatchFeature:
        """A container of its own: the pipeline moves what is in it to the card."""
        if text not in self.texts:
            raise NotForeseen("the pipeline puts a text into another template")
        return BatchFeature(dict(self.texts[text]))


def see(
    pipeline: Any,  # noqa: ANN401 - untyped library
    row: ModelRow,
    pictures: Sequence[Image.Image],
    texts: Sequence[str],
    ask: Ask = go_on,
) -> tuple[Seen, ...]:
    """What the pipeline will ask for, of an edit with these texts.  One call at a time."""
    conditions = [_condition(pipeline, row, picture) for picture in asking_before(ask, pictures)]
    pairs = zip(pictures, conditions, strict=True)
    values = [_values(pipeline, row, *pair) for pair in asking_before(ask, pairs)]
    one_or_more = conditions if row.max_pictures > 1 else conditions[0]
    labels = "".join(PICTURE_LABEL.format(number + 1) for number in range(len(pictures)))
    template = pipeline.prompt_template_encode
    made: dict[str, Mapping[str, torch.Tensor]] = {}
    for text in asking_before(ask, texts):
        whole = template.format(labels + text if row.max_pictures > 1 else text)
        made[whole] = dict(
            pipeline.processor(text=[whole], images=one_or_more, padding=True, return_tensors="pt")
        )
    return tuple(
        Seen(size=picture.size, condition=condition, values=value, texts=made)
        for picture, condition, value in zip(pictures, conditions, values, strict=True)
    )


def _condition(pipeline: Any, row: ModelRow, picture: Image.Image) -> Image.Image:  # noqa: ANN401
    width, height = condition_size(row, picture.size)
    scaled: Image.Image = pipeline.image_processor.resize(picture, height, width)
    return scaled


def _values(
    pipeline: Any,  # noqa: ANN401
    row: ModelRow,
    picture: Image.Image,
    condition: Image.Image,
) -> torch.Tensor:
    width, height = seen_size(row, picture.size)
    if condition.size == (width, height):
        picture = condition  # scaled to the same size already
    values: torch.Tensor = pipeline.image_processor.preprocess(picture, height, width)
    return values


def take_seen(pipeline: Any) -> None:  # noqa: ANN401 - untyped library
    """Have the pipeline's processors answer for a ``Seen``; for a picture they do as before."""
    scaler = pipeline.image_processor
    scaler.resize = _answering(scaler.resize, Seen.at)
    scaler.preprocess = _answering(scaler.preprocess, Seen.values_at)
    pipeline.processor = _Processor(pipeline.processor)


def _answering(plain: Callable[..., Any], answer: Callable[[Seen, Size], Any]) -> Any:  # noqa: ANN401
    @functools.wraps(plain)
    def scaled(image: Any, height: int, width: int, **choices: Any) -> Any:  # noqa: ANN401
        if isinstance(image, Seen):
            return answer(image, (width, height))
        return plain(image, height, width, **choices)

    return scaled


class _Processor:
    """The library's, which is called as an object: a call cannot be replaced on an instance."""

    def __init__(self, plain: Any) -> None:  # noqa: ANN401 - untyped library
        self._plain = plain

    def __call__(self, *, text: list[str], images: Any, **choices: Any) -> Any:  # noqa: ANN401
        first = images[0] if isinstance(images, list) else images
        if isinstance(first, Seen):
            (whole,) = text
            return first.beside(whole)
        return self._plain(text=text, images=images, **choices)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._plain, name)
