"""Loading a pipeline, and the repairs that a loaded one needs.

Read against diffusers 0.42.1 and transformers 5.23.  Repairs are made on the instance:
the library's classes stay as they are.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers

from jobs.errors import BadSettings
from worker.engine.diffusers.models import ModelRow

IMAGE_TOKEN: Final = 1  # the type of an image's tokens in Qwen2.5-VL; text is 0

#: The areas are constants of the library's module, so they are the whole process's.
_areas_lock = threading.Lock()


def load_pipeline(folder: Path, row: ModelRow, device: str) -> Any:  # noqa: ANN401 - untyped library
    """The repaired pipeline on its device: bfloat16 on a GPU, float32 on the CPU.

    Float16 overflows in this model (black pictures).  Raises ``BadSettings`` when the folder
    holds no such model.
    """
    _check_folder(folder, row)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    pipeline = getattr(diffusers, row.pipeline).from_pretrained(
        folder,
        dtype=torch.float32 if device == "cpu" else torch.bfloat16,
        local_files_only=True,
    )
    pipeline.set_progress_bar_config(disable=True)
    _pass_token_types(pipeline.text_encoder)
    return pipeline.to(device)


def _check_folder(folder: Path, row: ModelRow) -> None:
    index = folder / "model_index.json"
    if not index.is_file():
        raise BadSettings(f"model folder {folder}: holds no model_index.json")
    if f'"{row.pipeline}"' not in index.read_text(encoding="utf-8"):
        raise BadSettings(f"model folder {folder}: is not a {row.pipeline}, as {row.name} is")


def _pass_token_types(text_encoder: Any) -> None:  # noqa: ANN401 - untyped library
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


@contextmanager
def picture_areas(pipeline: object, row: ModelRow) -> Iterator[None]:
    """Give the pipeline's module the row's two areas for the time of a call."""
    module: Any = sys.modules[type(pipeline).__module__]
    with _areas_lock:
        before = module.VAE_IMAGE_SIZE, module.CONDITION_IMAGE_SIZE
        module.VAE_IMAGE_SIZE, module.CONDITION_IMAGE_SIZE = row.vae_area, row.condition_area
        try:
            yield
        finally:
            module.VAE_IMAGE_SIZE, module.CONDITION_IMAGE_SIZE = before


def template_tokens(pipeline: Any, text: str) -> int:  # noqa: ANN401 - untyped library
    """Tokens of the text inside the pipeline's fixed template, pictures left out."""
    whole = pipeline.prompt_template_encode.format(text)
    return len(pipeline.tokenizer(whole, verbose=False).input_ids)
