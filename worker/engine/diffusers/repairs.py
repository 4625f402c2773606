"""What a loaded pipeline needs before it is right; made on the instance, never on the library.

Read against diffusers 0.42.1 with transformers 5.17 and 5.23.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from worker.engine.base import NOT_FINITE
from worker.engine.diffusers.models import MEGAPIXEL, ModelRow

IMAGE_TOKEN: Final = 1  # the type of an image's tokens in Qwen2.5-VL; text is 0
LIBRARY_CONDITION_AREA: Final = 384 * 384  # what the library asks its own function for

#: The areas are the library's module's, so they are the whole process's.
_areas_lock = threading.Lock()


def pass_token_types(text_encoder: Any) -> None:  # noqa: ANN401 - untyped library
    """Tell Qwen2.5-VL which tokens are an image's, so that they get an image's positions.

    transformers 5 asks for ``mm_token_type_ids`` and falls back silently to positions of text;
    the pipeline does not hand on the ones that its processor made (huggingface/diffusers
    #14194).
    """
    plain = text_encoder.forward
    image_token = text_encoder.config.image_token_id

    @functools.wraps(plain)
    def forward(**arguments: Any) -> Any:  # noqa: ANN401 - the library's own signature
        images = arguments["input_ids"] == image_token
        arguments.setdefault("mm_token_type_ids", images.to(torch.int32) * IMAGE_TOKEN)
        return plain(**arguments)

    text_encoder.forward = forward


def drop_head(text_encoder: Any) -> None:  # noqa: ANN401 - untyped library
    """Take off the layer that would name the next word: 1.1 GB that nothing here reads.

    The pipeline uses hidden states only, yet each call computes every word's score.
    """
    if isinstance(getattr(text_encoder, "lm_head", None), torch.nn.Linear):
        text_encoder.lm_head = torch.nn.Identity()


def mark_not_finite(pipeline: Any) -> None:  # noqa: ANN401 - untyped library
    """Have each picture say which share of the values behind it were no finite numbers.

    diffusers casts them to bytes as they are: a NaN becomes black on today's processors, an
    infinity white, and afterwards nobody can tell.  Here both become black, and are told.
    """
    plain = pipeline.image_processor.postprocess

    @functools.wraps(plain)
    def postprocess(image: torch.Tensor, *arguments: Any, **choices: Any) -> Any:  # noqa: ANN401
        finite = torch.isfinite(image)
        if finite.all():
            return plain(image, *arguments, **choices)
        share = 1 - float(finite.float().mean())
        made = plain(torch.where(finite, image, -1.0), *arguments, **choices)
        for picture in made:
            picture.info[NOT_FINITE] = share
        return made

    pipeline.image_processor.postprocess = postprocess


@contextmanager
def picture_areas(pipeline: object, row: ModelRow) -> Iterator[None]:
    """Have the pipeline's module scale pictures to the row's two areas, for the time of a call."""
    if not row.sees_pictures:
        yield
        return
    module: Any = sys.modules[type(pipeline).__module__]
    areas = {MEGAPIXEL: row.vae_area, LIBRARY_CONDITION_AREA: row.condition_area}
    with _areas_lock:
        plain = module.calculate_dimensions

        def calculate_dimensions(target_area: int, ratio: float) -> Any:  # noqa: ANN401
            return plain(areas[target_area], ratio)

        module.calculate_dimensions = calculate_dimensions
        try:
            yield
        finally:
            module.calculate_dimensions = plain


def template_tokens(pipeline: Any, row: ModelRow, text: str) -> int:  # noqa: ANN401
    """Tokens of the text inside the pipeline's fixed template, pictures left out."""
    whole = pipeline.prompt_template_encode.format(text) if row.sees_pictures else text
    tokenizer = getattr(pipeline, row.tokenizer)
    return len(tokenizer(whole, verbose=False).input_ids)
