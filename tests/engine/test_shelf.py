"""Model-offload without copies back.  ``meta`` stands for a card: nothing can be copied from it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.testing._internal.two_tensor import TwoTensor

from tests.engine.variants import TINY
from worker.engine.diffusers import host
from worker.engine.diffusers.pipeline import load_pipeline
from worker.engine.diffusers.placement import GIB, Placement
from worker.engine.diffusers.placing import place

pytestmark = pytest.mark.engine
CARD = "meta"
PARTS = ("text_encoder", "transformer", "vae")


@pytest.fixture
def pipeline(random_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - untyped
    driver = SimpleNamespace(empty_cache=lambda: None)
    monkeypatch.setattr(torch, CARD, driver, raising=False)  # as torch.cuda is
    loaded: Any = load_pipeline(random_folder, TINY, "cpu")
    place(loaded, Placement.MODEL_OFFLOAD, CARD)
    return loaded


def where(part: torch.nn.Module) -> set[str]:
    held = [*part.parameters(), *part.buffers()]
    return {tensor.device.type for tensor in held}


def addresses(part: torch.nn.Module) -> list[int]:
    return [tensor.data_ptr() for tensor in (*part.parameters(), *part.buffers())]


def called(pipeline: Any, name: str) -> torch.nn.Module:  # noqa: ANN401
    """As before its forward."""
    part: Any = getattr(pipeline, name)
    part._hf_hook.pre_forward(part)  # noqa: SLF001 - accelerate's
    assert isinstance(part, torch.nn.Module)
    return part


def test_a_part_that_leaves_the_card_is_where_it_was(pipeline: Any) -> None:  # noqa: ANN401
    before = {name: addresses(getattr(pipeline, name)) for name in PARTS}
    for _edit in range(2):  # the library takes its hooks off in between
        for name in PARTS:
            assert where(called(pipeline, name)) == {CARD}
            others = [getattr(pipeline, one) for one in PARTS if one != name]
            assert all(where(other) == {"cpu"} for other in others)
        pipeline.maybe_free_model_hooks()

        assert {name: addresses(getattr(pipeline, name)) for name in PARTS} == before


def test_after_it_parts_are_moved_as_ever(pipeline: Any) -> None:  # noqa: ANN401
    place(pipeline, Placement.RESIDENT, "cpu")

    assert not any("to" in getattr(pipeline, name).__dict__ for name in PARTS)
    assert "maybe_free_model_hooks" not in pipeline.__dict__


def test_another_type_is_no_move(pipeline: Any) -> None:  # noqa: ANN401
    part = pipeline.vae.to(torch.bfloat16)

    assert {weight.dtype for weight in part.parameters()} == {torch.bfloat16}


def test_rounded_weights_are_copied_both_ways() -> None:
    """The library's wrapper around them is not to be reached into."""
    layer = torch.nn.Linear(16, 16, bias=False)
    weight = layer.weight.detach()
    layer.weight = torch.nn.Parameter(TwoTensor(weight, weight), requires_grad=False)
    pipeline = offloadable(layer)

    place(pipeline, Placement.MODEL_OFFLOAD, "cpu")

    assert "to" not in layer.__dict__


def offloadable(part: torch.nn.Module) -> Any:  # noqa: ANN401 - what placing needs of a pipeline
    return SimpleNamespace(
        components={"transformer": part},
        to=lambda _device: None,
        remove_all_hooks=lambda: None,
        enable_model_cpu_offload=lambda **_choices: None,
        maybe_free_model_hooks=lambda: None,
    )


@pytest.mark.parametrize(
    ("free", "for_one_edit", "locked"),
    [
        (8.5, False, 2),  # bytes of a weight and a bias
        (7.9, False, 0),  # the host would be short
        (8.5, True, 0),  # it takes longer than it saves in one edit
    ],
)
def test_weights_are_locked_for_copying_where_the_host_has_room(
    monkeypatch: pytest.MonkeyPatch, free: float, *, for_one_edit: bool, locked: int
) -> None:
    done: list[int] = []

    def pin(self: torch.Tensor) -> torch.Tensor:
        done.append(self.numel())
        return self.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(host, "gib_available", lambda: free)
    place(
        offloadable(torch.nn.Linear(2, 2)),
        Placement.MODEL_OFFLOAD,
        "cuda",
        for_one_edit=for_one_edit,
    )

    assert len(done) == locked


def test_room_to_lock_is_what_powers_of_two_take_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three bytes of four: a third more, beside what is left for everything else."""
    sizes = SimpleNamespace(nbytes=3 * GIB)
    monkeypatch.setattr(host, "_tensors_of", lambda _pipeline: [sizes])

    monkeypatch.setattr(host, "gib_available", lambda: host.MARGIN + 1.0)
    assert host.has_room_to_lock(object())
    monkeypatch.setattr(host, "gib_available", lambda: host.MARGIN + 0.9)
    assert not host.has_room_to_lock(object())
