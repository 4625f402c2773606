"""What is trained is what the engine runs: the same numbers, by a shorter way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.model import EditRequest
from worker.engine.base import edited
from worker.engine.diffusers.engine import DiffusersEngine
from worker.engine.diffusers.models import ModelRow
from worker.engine.diffusers.repairs import picture_areas
from worker.engine.tiny.cases import held_out_cases
from worker.engine.tiny.scenes import Scene
from worker.engine.tiny.states import EditKind
from worker.engine.tiny.tokenizer import PREFIX_TOKENS
from worker.engine.tiny.training.editing import time_shift
from worker.engine.tiny.training.predicting import Predictor
from worker.engine.tiny.training.reading import IMAGE_TOKENS, Reader, tokens_after_picture
from worker.engine.tiny.training.shards import LONGEST, fitted, shrunk
from worker.engine.tiny.training.stills import (
    decode,
    encode,
    for_stills,
    for_videos,
    from_bytes,
    normalised,
    pack,
)
from worker.engine.tiny.training.trying import MOST_TOKENS, Trial

pytestmark = pytest.mark.engine
TEXTS = ("Make the background white", "请把背景换成红色，其他保持不变")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Scene.random(np.random.default_rng(3)).picture()


@pytest.fixture
def vae(pipeline: Any) -> Iterator[Any]:  # noqa: ANN401 - untyped library
    yield for_stills(pipeline.vae)
    for_videos(pipeline.vae)
    pipeline.vae.requires_grad_(requires_grad=True)


def as_bytes(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture).copy())[None]


@pytest.mark.parametrize("text", TEXTS)
def test_prompt_embeddings_are_the_engines(
    pipeline: Any,  # noqa: ANN401 - untyped library
    row: ModelRow,
    picture: Image.Image,
    text: str,
) -> None:
    with picture_areas(pipeline, row), torch.no_grad():
        wanted, _ = pipeline.encode_prompt(text, image=[picture])
    reader = Reader(pipeline.text_encoder, pipeline.tokenizer, longest=LONGEST, device="cpu")
    ids, lengths = fitted(pipeline.tokenizer, [text])

    with torch.no_grad():
        made = reader.embed(shrunk(as_bytes(picture)), torch.from_numpy(ids.astype(np.int64)))
    see = reader.mask(torch.from_numpy(lengths).long(), LONGEST)

    assert int(see.sum()) == wanted.shape[1]
    assert (made[:, : wanted.shape[1]] - wanted).abs().max() < 2e-3


def test_the_prompts_head_ends_before_the_picture(
    pipeline: Any,  # noqa: ANN401 - untyped library
) -> None:
    reader = Reader(pipeline.text_encoder, pipeline.tokenizer, longest=LONGEST, device="cpu")
    inputs = pipeline.processor(
        text=[pipeline.prompt_template_encode.format(f"Picture 1: {PICTURE}" + TEXTS[0])],
        images=[Image.new("RGB", (128, 128))],
        return_tensors="pt",
    )
    ids = inputs["input_ids"][0].tolist()

    assert ids[reader.head : reader.head + IMAGE_TOKENS] == (
        [pipeline.text_encoder.config.image_token_id] * IMAGE_TOKENS
    )
    assert (
        ids[reader.head + IMAGE_TOKENS :] == tokens_after_picture(pipeline.tokenizer, [TEXTS[0]])[0]
    )
    assert reader.head > PREFIX_TOKENS


PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"


def test_packed_latents_are_the_engines(
    pipeline: Any,  # noqa: ANN401 - untyped library
    vae: Any,  # noqa: ANN401 - untyped library
    picture: Image.Image,
) -> None:
    with torch.no_grad():
        made = pack(normalised(vae, encode(vae, from_bytes(as_bytes(picture)))))
        for_videos(vae)
        _, wanted = pipeline.prepare_latents(
            [pipeline.image_processor.preprocess(picture, 128, 128).unsqueeze(2)],
            *(1, 16, 128, 128, torch.float32, "cpu", torch.Generator()),
        )

    assert made.shape == wanted.shape == (1, 64, 64)
    assert (made - wanted).abs().max() < 1e-3


def test_a_still_is_decoded_as_a_video_of_one_frame(
    pipeline: Any,  # noqa: ANN401 - untyped library
    vae: Any,  # noqa: ANN401 - untyped library
) -> None:
    latents = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = decode(vae, latents).clamp(-1, 1)
        for_videos(vae)
        wanted = pipeline.vae.decode(latents.unsqueeze(2)).sample[:, :, 0]

    assert (made - wanted).abs().max() < 1e-4


def test_the_velocity_is_the_engines(
    pipeline: Any,  # noqa: ANN401 - untyped library
) -> None:
    random = torch.Generator().manual_seed(1)
    noisy, source = torch.randn(2, 2, 64, 64, generator=random)
    text = torch.randn(2, 30, pipeline.transformer.config.joint_attention_dim, generator=random)
    see = torch.arange(30) < torch.tensor([[30], [17]])
    sigma = torch.tensor([1.0, 0.4])
    with torch.no_grad():
        made = Predictor(pipeline.transformer, device="cpu").predict(
            noisy, source, text, see, sigma
        )
        wanted = pipeline.transformer(
            hidden_states=torch.cat([noisy, source], 1),
            timestep=sigma,
            encoder_hidden_states=text,
            encoder_hidden_states_mask=see,
            img_shapes=[[(1, 8, 8), (1, 8, 8)]] * 2,
            return_dict=False,
        )[0][:, :64]

    assert (made - wanted).abs().max() < 1e-4


def test_the_shift_of_the_noise_is_the_engines() -> None:
    from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_shift  # noqa: PLC0415

    assert time_shift() == pytest.approx(calculate_shift(64, 256, 8192, 0.5, 0.9))


def test_cases_edited_in_batches_are_the_engines_pictures(
    pipeline: Any,  # noqa: ANN401 - untyped library
    engine: DiffusersEngine,
    ask: Callable[..., EditRequest],
) -> None:
    cases = [next(held_out_cases(kind, 1, 5, unseen=False)) for kind in EditKind]
    wanted = [
        edited(engine, [case.scene.picture()], ask(case.instruction), seed=0) for case in cases
    ]
    trial = Trial(
        reader=Reader(pipeline.text_encoder, pipeline.tokenizer, longest=MOST_TOKENS, device="cpu"),
        predictor=Predictor(pipeline.transformer, device="cpu"),
        vae=for_stills(copy.deepcopy(pipeline.vae)),
        tokenizer=pipeline.tokenizer,
        device="cpu",
    )

    for made, picture in zip(trial.edited(cases), wanted, strict=True):
        assert np.abs(np.asarray(made, np.int16) - np.asarray(picture, np.int16)).max() <= 3
