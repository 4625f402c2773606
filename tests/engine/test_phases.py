"""An edit can be ended within a step, also while texts and pictures are encoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from jobs.errors import Transient
from jobs.model import EditRequest
from worker.engine.base import Interrupted, edited
from worker.engine.diffusers.engine import DiffusersEngine

pytestmark = pytest.mark.engine
Ask = Callable[..., EditRequest]
Pipeline = Any


def stop_at(call: int) -> Callable[[int, int], None]:
    """Raises when asked for that time, from 1."""
    calls = iter(range(1, 1000))

    def on_step(_done: int, _total: int) -> None:
        if next(calls) == call:
            raise Interrupted(f"at {call}")

    return on_step


@pytest.fixture
def work(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order."""
    done: list[str] = []

    def noted(part: Any, name: str, what: str) -> None:  # noqa: ANN401
        plain = getattr(part, name)

        def note(*arguments: Any, **choices: Any) -> Any:  # noqa: ANN401
            done.append(what)
            return plain(*arguments, **choices)

        monkeypatch.setattr(part, name, note)

    noted(pipeline.text_encoder, "forward", "text")
    noted(pipeline.vae, "_encode", "picture")
    noted(pipeline.transformer, "forward", "step")
    noted(pipeline.vae, "_decode", "decode")
    return done


@pytest.mark.parametrize(
    ("call", "done"),
    [
        (1, []),
        (2, ["text"]),
        (3, ["text", "text"]),
        (4, ["text", "text", "picture"]),
        (5, ["text", "text", "picture", "picture"]),
        (6, ["text", "text", "picture", "picture", "step"]),  # between the passes of one step
        (10, ["text", "text", "picture", "picture", *["step"] * 4]),  # before the decoding
    ],
)
def test_it_ends_before_the_next_piece_of_work(  # noqa: PLR0913 - fixtures
    *,
    engine: DiffusersEngine,
    ask: Ask,
    product: Image.Image,
    work: list[str],
    call: int,
    done: list[str],
) -> None:
    request = ask(steps=2, true_cfg_scale=2.0)

    with pytest.raises(Interrupted, match=f"at {call}$"):
        edited(engine, [product, product], request, seed=1, on_step=stop_at(call))

    assert work == done


def test_a_picture_of_an_interrupted_pipeline_is_thrown_away(
    engine: DiffusersEngine, pipeline: Pipeline, ask: Ask, product: Image.Image
) -> None:
    """diffusers skips the rest of the steps, and decodes the noise all the same."""

    def interrupt(done: int, _total: int) -> None:
        pipeline._interrupt = done == 1  # noqa: SLF001 - as others set it

    with pytest.raises(Transient, match="its picture is none"):
        edited(engine, [product], ask(steps=3), seed=1, on_step=interrupt)


def test_the_text_encoder_names_no_words(pipeline: Pipeline) -> None:
    """Its last layer is 1.1 GB in the real model; hidden states are the same without it."""
    encoder = pipeline.text_encoder
    tokens = {"input_ids": torch.tensor([[1, 2, 3]]), "output_hidden_states": True}
    with torch.no_grad():
        without = encoder(**tokens).hidden_states[-1]
        kept = encoder.lm_head
        encoder.lm_head = torch.nn.Linear(without.shape[-1], 10)
        with_it = encoder(**tokens).hidden_states[-1]
        encoder.lm_head = kept

    assert isinstance(kept, torch.nn.Identity)
    assert torch.equal(without, with_it)
