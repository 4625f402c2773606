"""What a loaded pipeline needs before it is right; made on the instance, never on the library.

Read against diffusers 0.42.1 with transformers 5.17 and 5.23.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from worker.engine.base import NOT_FINITE
from worker.engine.diffusers.models import MEGAPIXEL, ModelRow

IMAGE_TOKEN: Final = 1  # the type of an image's tokens in Qwen2.5-VL; text is 0
LIBRARY_CONDITION_AREA: Final = 384 * 384  # what the library asks its own function for

#: What a library's module holds is the whole process's.
_modules_lock = threading.RLock()


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


def cut_to_window(tokenizer: Any) -> None:  # noqa: ANN401 - untyped library
    """Cut what is too long at every call, as the pipeline has it cut for the encoder.

    FLUX's asks CLIP's tokenizer once more, for all of the text, to do nothing but log the words
    past its 77 tokens: they are a customer's.
    """
    plain = type(tokenizer)

    def call(self: Any, *arguments: Any, **choices: Any) -> Any:  # noqa: ANN401
        return plain.__call__(self, *arguments, **{"truncation": True, **choices})

    tokenizer.__class__ = type(plain.__name__, (plain,), {"__call__": call})


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
    areas = {MEGAPIXEL: row.vae_area, LIBRARY_CONDITION_AREA: row.condition_area}

    def to_ours(plain: Any) -> Any:  # noqa: ANN401 - the library's function
        return lambda target_area, ratio: plain(areas[target_area], ratio)

    with _changed(pipeline, "calculate_dimensions", to_ours):
        yield


@contextmanager
def noise_of_the_seed(pipeline: object) -> Iterator[None]:
    """Have the pipeline's module draw noise in float32 and round it, for the time of a call.

    torch 2.11 draws bfloat16 from other numbers than float32, 2.14 from the same: a seed would
    be another picture after an upgrade.
    """

    def in_float32(plain: Any) -> Any:  # noqa: ANN401 - the library's function
        def draw(shape: Any, *, dtype: torch.dtype, **choices: Any) -> torch.Tensor:  # noqa: ANN401
            noise: torch.Tensor = plain(shape, dtype=torch.float32, **choices)
            return noise.to(dtype)

        return draw

    with _changed(pipeline, "randn_tensor", in_float32):
        yield


@contextmanager
def _changed(pipeline: object, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    module = sys.modules[type(pipeline).__module__]
    with _modules_lock:
        plain = getattr(module, name)
        setattr(module, name, change(plain))
        try:
            yield
        finally:
            setattr(module, name, plain)
