"""Moving parts, as far as it can be seen without a GPU: in which order, and how much at once."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLQwenImage
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef

from tests.engine.full_sizes import full_parts, peak_gib
from worker.engine.bench.sizes import FULL
from worker.engine.diffusers import host, placing
from worker.engine.diffusers.exact import flatten_vae
from worker.engine.diffusers.placement import Placement

pytestmark = pytest.mark.engine


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Notes what a GPU would be asked for; ``twice``: weights held beside their locked copy."""
    noted = SimpleNamespace(done=[], twice=0, streamed={})
    locked: list[Any] = []

    def pin(self: torch.Tensor) -> torch.Tensor:
        noted.twice = max(noted.twice, sum(not one.expired() for one in locked))
        locked.append(StorageWeakRef(self.untyped_storage()))  # type: ignore[no-untyped-call]
        noted.done.append("lock")
        return self.clone()

    def offload(part: torch.nn.Module, **choices: Any) -> None:  # noqa: ANN401 - the library's
        noted.done.append("offload")
        noted.streamed[part] = choices["use_stream"]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(placing, "apply_group_offloading", offload)
    return noted


def of_parts(**parts: torch.nn.Module) -> Any:  # noqa: ANN401 - what placing needs of a pipeline
    return SimpleNamespace(components=parts, to=lambda _device: None, remove_all_hooks=lambda: None)


def test_each_weight_is_locked_and_let_go_before_the_next(card: SimpleNamespace) -> None:
    """The library alone would hold a part of 38 GiB twice, and once more as powers of two."""
    layers = [torch.nn.Linear(2, 2) for _ in range(3)]
    pipeline = of_parts(transformer=torch.nn.Sequential(*layers))

    placing.place(pipeline, Placement.GROUP_OFFLOAD, "cuda")

    assert card.done == ["lock"] * 6 + ["offload"]
    assert card.twice == 0


def test_the_host_memory_that_is_asked_for_holds_the_locked_weights() -> None:
    """torch hands locked memory out in powers of two."""
    parts = {name: part.to(torch.bfloat16) for name, part in full_parts().items()}
    pipeline = SimpleNamespace(components=parts)
    locked, once = (
        host.gib_of(pipeline, one) for one in (Placement.GROUP_OFFLOAD, Placement.MODEL_OFFLOAD)
    )

    assert locked == pytest.approx(87.6, abs=0.1)
    assert once == pytest.approx(52.7, abs=0.1)


def test_only_parts_whose_forward_runs_are_streamed(card: SimpleNamespace) -> None:
    """The library would note each layer of the VAE at each edit, for as long as it lives."""
    parts = {name: torch.nn.Linear(2, 2) for name in ("text_encoder", "transformer", "vae")}

    placing.place(of_parts(**parts), Placement.GROUP_OFFLOAD, "cuda")

    streamed = {name: card.streamed[part] for name, part in parts.items()}
    assert streamed == {"text_encoder": True, "transformer": True, "vae": False}


@torch.no_grad()
def test_the_largest_picture_is_decoded_in_the_least_memory() -> None:
    """Its tensors in float32: twice bfloat16's, which leaves as much for what cuDNN works in."""
    row = FULL.row
    side = math.isqrt(row.max_area)
    with FakeTensorMode():
        vae: Any = AutoencoderKLQwenImage(**FULL.vae).eval()
        latents = torch.zeros(1, 16, 1, side // 8, side // 8)
        plain = peak_gib(lambda: vae.decode(latents))
        flatten_vae(vae)
        flat = peak_gib(lambda: vae.decode(latents))

    assert flat < plain / 2
    assert flat < (row.needs.group_offload or 0.0)


def test_a_minute_of_locking_gives_signs_of_life(card: SimpleNamespace) -> None:
    """Else the watchdog would take the card for hung."""
    pipeline = of_parts(transformer=torch.nn.Linear(2, 2))

    placing.place(pipeline, Placement.GROUP_OFFLOAD, "cuda", tell=lambda: card.done.append("alive"))

    moved = ["alive"] * 3  # from the card: hooks, its one layer, and the rest
    assert card.done == [*moved, *["lock", "alive"] * 2, "offload", "alive"]


def test_a_pass_that_broke_off_is_done_with_copying_before_weights_are_moved() -> None:
    """On a card the next block's come by a stream of their own: moved before, they could be any."""
    done: list[str] = []
    layer: Any = torch.nn.Linear(2, 2)
    pipeline = of_parts(text_encoder=layer)
    pipeline.to = lambda _device: done.append("moved")
    placing.place(pipeline, Placement.GROUP_OFFLOAD, "cpu")
    hook = layer._diffusers_hook.get_hook("group_offloading")  # noqa: SLF001 - the library's
    hook.config.stream = SimpleNamespace(synchronize=lambda: done.append("arrived"))
    done.clear()
    placing.place(pipeline, Placement.RESIDENT, "cpu")

    assert done == ["arrived", "moved"]


@pytest.mark.usefixtures("card")  # the library moves as well where it begins to offload
@pytest.mark.parametrize("placement", Placement)
def test_each_layer_that_is_moved_is_a_sign_of_life(
    monkeypatch: pytest.MonkeyPatch, placement: Placement
) -> None:
    """As one call, the move of 53 GiB is silent for half a minute or more."""
    done: list[str] = []
    layers = [torch.nn.Linear(2, 2) for _ in range(3)]
    for layer in layers:
        monkeypatch.setattr(layer, "to", lambda *_where, **_how: done.append("moved"))
    pipeline = of_parts(transformer=torch.nn.Sequential(*layers))
    pipeline.enable_model_cpu_offload = lambda **_choices: None
    pipeline.maybe_free_model_hooks = lambda: None
    placing.place(pipeline, placement, "cpu", tell=lambda: done.append("alive"))

    assert "moved" in done
    assert not {("moved", "moved")} & set(itertools.pairwise(done))


def test_what_is_locked_and_unused_goes_back_to_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("card"))
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: freed.append("host"), raising=False)  # noqa: SLF001

    placing.free_unused()

    assert freed == ["card", "host"]
