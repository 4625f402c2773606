"""What the engine relies on in diffusers and transformers, checked at every start.

A library that changed one of these would still make pictures: other ones.  So a worker
refuses to start, and names what changed.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import diffusers
import torch
import transformers
from PIL import Image

from jobs.errors import BadSettings
from worker.engine.diffusers.models import MEGAPIXEL, ModelRow
from worker.engine.diffusers.repairs import LIBRARY_CONDITION_AREA, picture_areas
from worker.engine.diffusers.seen import NotForeseen, see
from worker.engine.diffusers.sizes import ROPE_POSITIONS, seen_size

#: The call that ``engine`` makes of any pipeline.
ARGUMENTS: Final = frozenset(
    {
        "image",
        "prompt",
        "height",
        "width",
        "num_inference_steps",
        "generator",
        "callback_on_step_end",
        "callback_on_step_end_tensor_inputs",
    }
)
#: Tokens at the head of Qwen's template, which the pipeline cuts off by number.
PREFIX_TOKENS: Final = 64
#: Where the template's fixed head ends.
PREFIX_END: Final = "<|im_start|>user\n"
PROBE: Final = "probe"
PROBE_SIZES: Final = ((1, 1), (4000, 3000), (1000, 1777), (8, 1), (799, 600))


def check_contract(pipeline: Any, row: ModelRow) -> None:  # noqa: ANN401 - untyped library
    """Raises ``BadSettings`` naming all that is not as this engine was written for."""
    _refuse([*_call(pipeline, row), *_weights(pipeline, row), *_qwen(pipeline, row)])


def check_positions(pipeline: Any, row: ModelRow) -> None:  # noqa: ANN401 - untyped library
    """Encode a probe, and see that an image's tokens get an image's positions.

    The one trap that shows in nothing but quality; so the repair is checked by what it does.
    """
    if not row.sees_pictures:
        return
    seen: dict[str, Any] = {}
    encoder = pipeline.text_encoder
    hooks = [
        encoder.register_forward_pre_hook(
            lambda _module, _args, call: seen.update(ids=call.get("input_ids")), with_kwargs=True
        ),
        encoder.model.language_model.register_forward_pre_hook(
            lambda _module, _args, call: seen.update(at=call.get("position_ids")), with_kwargs=True
        ),
    ]
    pictures = see(pipeline, row, [Image.new("RGB", (64, 64))], [PROBE])
    try:
        with picture_areas(pipeline, row), torch.no_grad():
            images = pictures[0] if row.max_pictures == 1 else list(pictures)
            pipeline.encode_prompt(PROBE, image=images)
    except NotForeseen as error:
        _refuse([str(error)])
    finally:
        for hook in hooks:
            hook.remove()
    if not _are_an_images(seen, encoder.config.image_token_id):
        _refuse(["the text encoder gives an image's tokens the positions of text"])


def _are_an_images(seen: Mapping[str, Any], image_token: int) -> bool:
    """Text counts up in all three axes; an image stands still in time and counts rows."""
    ids, positions = seen.get("ids"), seen.get("at")
    if ids is None or positions is None or positions.dim() != 3 or positions.shape[0] != 3:
        return False
    time, height, _width = positions[:, 0, ids[0] == image_token]
    return time.numel() > 0 and bool((time == time[0]).all()) and bool((height != time).any())


def _refuse(changes: list[str]) -> None:
    if changes:
        raise BadSettings(
            f"diffusers {diffusers.__version__} with transformers {transformers.__version__} is"
            f" not what this engine was written for: {'; '.join(changes)}"
        )


def _call(pipeline: Any, row: ModelRow) -> Iterator[str]:  # noqa: ANN401
    name = type(pipeline).__name__
    wanted = ARGUMENTS | {row.guidance} | set(row.arguments)
    wanted |= {"negative_prompt"} if row.takes_negative else set()
    wanted |= {row.area_argument} if row.area_argument else set()
    missing = wanted - set(inspect.signature(type(pipeline).__call__).parameters)
    if missing:
        yield f"{name} takes no {', '.join(sorted(missing))}"
    if getattr(sys.modules[type(pipeline).__module__], "randn_tensor", None) is None:
        yield f"{name}'s module draws its noise without randn_tensor"
    for method in ("maybe_free_model_hooks", "interrupt"):
        if not hasattr(type(pipeline), method):
            yield f"{name} has no {method}"


def _weights(pipeline: Any, row: ModelRow) -> Iterator[str]:  # noqa: ANN401
    config = pipeline.transformer.config
    for key, value in row.transformer.items():
        if config.get(key) != value:
            yield (
                f"the folder's transformer has {key} {config.get(key)}, {row.name} has {value}:"
                " are these a sibling's weights?"
            )


def _qwen(pipeline: Any, row: ModelRow) -> Iterator[str]:  # noqa: ANN401
    if not row.sees_pictures:
        return
    module = sys.modules[type(pipeline).__module__]
    yield from _areas(module, row)
    yield from _template(pipeline)
    positions = pipeline.transformer.pos_embed.pos_freqs.shape[0]
    if positions != ROPE_POSITIONS:
        yield f"the transformer knows {positions} positions, not {ROPE_POSITIONS}"
    if "mm_token_type_ids" not in inspect.signature(type(pipeline.text_encoder).forward).parameters:
        yield f"{type(pipeline.text_encoder).__name__} takes no mm_token_type_ids"


def _areas(module: object, row: ModelRow) -> Iterator[str]:
    function = getattr(module, "calculate_dimensions", None)
    if function is None or list(inspect.signature(function).parameters) != ["target_area", "ratio"]:
        yield "calculate_dimensions(target_area, ratio) is gone"
    elif any(
        tuple(function(row.vae_area, size[0] / size[1])[:2]) != seen_size(row, size)
        for size in PROBE_SIZES
    ):
        yield "calculate_dimensions rounds in another way"
    for constant, value in (
        ("VAE_IMAGE_SIZE", MEGAPIXEL),
        ("CONDITION_IMAGE_SIZE", LIBRARY_CONDITION_AREA),
    ):
        if getattr(module, constant, value) != value:
            yield f"{constant} is {getattr(module, constant)}, not {value}"


def _template(pipeline: Any) -> Iterator[str]:  # noqa: ANN401
    template, cut = pipeline.prompt_template_encode, pipeline.prompt_template_encode_start_idx
    head, mark, _ = template.partition(PREFIX_END)
    if not mark or "{}" in head or template.count("{}") != 1:
        yield "prompt_template_encode has another form"
        return
    tokens = len(pipeline.tokenizer(head + mark, verbose=False).input_ids)
    if not tokens == cut == PREFIX_TOKENS:
        yield f"the template's head has {tokens} tokens, the pipeline cuts off {cut}"
