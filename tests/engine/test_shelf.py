"""Model-offload without copies back.  ``meta`` stands for a card: nothing can be copied from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.testing._internal.two_tensor import TwoTensor

from jobs.errors import BadSettings
from tests.engine.variants import TINY
from worker.engine.diffusers import host, placing
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


@pytest.mark.parametrize("also", [(), ("cpu",)])
def test_another_type_is_no_move(pipeline: Any, also: tuple[str, ...]) -> None:  # noqa: ANN401
    part = pipeline.vae.to(*also, torch.bfloat16)

    assert {weight.dtype for weight in part.parameters()} == {torch.bfloat16}


def test_a_weight_that_was_filled_anew_is_what_it_was() -> None:
    """As CUDA moves: the parameter stays, and holds the card's copy."""
    layer = torch.nn.Linear(2, 2)
    place(offloadable(layer), Placement.MODEL_OFFLOAD, "cpu")
    before = addresses(layer)
    for weight in layer.parameters():
        weight.data = weight.data.clone()
    layer.to("cpu")

    assert addresses(layer) == before


def test_rounded_weights_are_copied_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's wrapper around them is not to be reached into."""
    layer = torch.nn.Linear(16, 16, bias=False)
    weight = layer.weight.detach()
    layer.weight = torch.nn.Parameter(TwoTensor(weight, weight), requires_grad=False)
    held: list[torch.nn.Module] = []
    monkeypatch.setattr(placing, "_one_by_one", lambda parts, *_how: held.extend(parts))
    place(offloadable(layer), Placement.MODEL_OFFLOAD, "cpu")

    assert "to" not in layer.__dict__
    assert held == []


def offloadable(part: torch.nn.Module) -> Any:  # noqa: ANN401 - what placing needs of a pipeline
    return SimpleNamespace(
        components={"transformer": part},
        to=lambda _device: None,
        remove_all_hooks=lambda: None,
        enable_model_cpu_offload=lambda **_choices: None,
        maybe_free_model_hooks=lambda: None,
    )


GIBS = 1024.0 * 1024.0  # of kB


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says what the host has available, and how much is this process's own: GiB."""
    files = {name: tmp_path / name for name in ("MEMORY", "PROCESS")}
    for name, file in files.items():
        monkeypatch.setattr(host, name, file)
    monkeypatch.setattr(host, "SHARE", tmp_path / "none")

    def say(*, available: float, own: float) -> None:
        files["MEMORY"].write_text(f"MemAvailable: {int(available * GIBS)} kB\n")
        files["PROCESS"].write_text(f"Name: python\nRssAnon: {int(own * GIBS)} kB\n")

    return say


@pytest.mark.parametrize(
    ("available", "for_one_edit", "held"),
    [
        (8.5, False, ["lock", "lock"]),  # a weight and a bias
        (7.9, False, ["own", "own"]),  # the host would be short
        (8.5, True, []),  # it takes longer than it saves in one edit
    ],
)
def test_weights_are_locked_for_copying_where_the_host_has_room(
    *,
    monkeypatch: pytest.MonkeyPatch,
    memory: Callable[..., None],
    available: float,
    for_one_edit: bool,
    held: list[str],
) -> None:
    """Else they are copied out of the files that loading has mapped: pages of those may go."""
    done: list[str] = []

    def noted(word: str) -> Callable[[torch.Tensor], torch.Tensor]:
        def hold(tensor: torch.Tensor) -> torch.Tensor:
            done.append(word)
            return tensor

        return hold

    monkeypatch.setattr(torch.Tensor, "pin_memory", noted("lock"))
    monkeypatch.setattr(torch.Tensor, "clone", noted("own"))
    memory(available=available, own=0.0)
    pipeline = offloadable(torch.nn.Linear(2, 2))
    place(pipeline, Placement.MODEL_OFFLOAD, "cuda", for_one_edit=for_one_edit)

    assert done == held


def test_a_driver_that_locks_no_more_leaves_weights_in_memory_of_their_own(
    monkeypatch: pytest.MonkeyPatch, memory: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """It makes edits slower; a start that is refused makes none."""

    def refused(_tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(torch.Tensor, "pin_memory", refused)
    memory(available=100.0, own=0.0)
    layer = torch.nn.Linear(2, 2)
    before = addresses(layer)
    place(offloadable(layer), Placement.MODEL_OFFLOAD, "cuda")

    assert not set(addresses(layer)) & set(before)
    (line,) = caplog.records
    assert (line.message, line.__dict__["why"]) == (
        "weights_not_locked",
        "CUDA error: out of memory",
    )


def test_a_group_offload_whose_driver_locks_no_more_is_refused_with_the_way_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(torch.Tensor, "pin_memory", refused)

    with pytest.raises(BadSettings, match=r"out of memory\): .*PACKSHOT_PLACEMENT=model-offload"):
        place(offloadable(torch.nn.Linear(2, 2)), Placement.GROUP_OFFLOAD, "cuda")


def test_a_host_that_does_not_tell_what_is_a_processs_own_is_asked_for_all_of_it(
    memory: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Some sandboxes leave the line out."""
    weights = SimpleNamespace(nbytes=3 * GIB)
    monkeypatch.setattr(host, "_tensors_of", lambda _pipeline: [weights])
    memory(available=host.MARGIN + 3.9, own=3.0)
    assert host.has_room_to_lock(object())

    (tmp_path / "PROCESS").write_text("Name: python\n")
    assert not host.has_room_to_lock(object())


def test_what_is_locked_already_stays(
    monkeypatch: pytest.MonkeyPatch, memory: Callable[..., None]
) -> None:
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda _tensor: True)
    memory(available=0.0, own=0.0)
    layer = torch.nn.Linear(2, 2)
    before = addresses(layer)
    place(offloadable(layer), Placement.MODEL_OFFLOAD, "cuda")

    assert addresses(layer) == before


@pytest.mark.parametrize(
    ("own", "needed"),
    [
        (0.0, 4.0),  # mapped from files, whose pages count as available
        (3.0, 1.0),  # the process's own: what powers of two take more
        (50.0, 1.0),  # and of other things
    ],
)
def test_room_to_lock_counts_what_weights_hold_themselves(
    monkeypatch: pytest.MonkeyPatch, memory: Callable[..., None], own: float, needed: float
) -> None:
    weights = SimpleNamespace(nbytes=3 * GIB)
    monkeypatch.setattr(host, "_tensors_of", lambda _pipeline: [weights])

    memory(available=host.MARGIN + needed + 0.1, own=own)
    assert host.has_room_to_lock(object())
    memory(available=host.MARGIN + needed - 0.1, own=own)
    assert not host.has_room_to_lock(object())


def test_a_change_of_placement_takes_what_is_not_there_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = [(3 * GIB, False), (5 * GIB, True)]  # the second is locked
    weights = [
        SimpleNamespace(nbytes=size, is_pinned=lambda locked=locked: locked)
        for size, locked in sizes
    ]
    monkeypatch.setattr(host, "_tensors_of", lambda _pipeline: weights)
    resident, offload, groups = Placement

    assert host.gib_more(object(), resident, offload) == 8.0
    assert host.gib_more(object(), resident, groups) == 12.0
    assert host.gib_more(object(), offload, groups) == 1.0


@pytest.mark.parametrize(
    ("more", "available", "lacking"),
    [
        (30.0, host.MARGIN + 30.0, 0.0),
        (30.0, host.MARGIN + 29.0, 1.0),  # for the pictures of other jobs
        (0.5, 1.0, 0.0),  # a small model need not leave more than it takes
        (0.5, 0.75, 0.25),
        (0.0, 0.0, 0.0),
    ],
)
def test_weights_leave_room_for_everything_else(
    memory: Callable[..., None], more: float, available: float, lacking: float
) -> None:
    memory(available=available, own=0.0)

    assert host.gib_lacking(more) == lacking


@pytest.mark.parametrize("available", [23.0, 25.0])
def test_an_edit_has_locked_what_a_start_would_have(
    memory: Callable[..., None], monkeypatch: pytest.MonkeyPatch, available: float
) -> None:
    """For the next smaller placement; and they stay locked afterwards."""
    weights = [SimpleNamespace(nbytes=size * GIB, is_pinned=lambda: False) for size in (30, 50)]
    monkeypatch.setattr(host, "_tensors_of", lambda _pipeline: weights)
    memory(available=available, own=80.0)
    more = host.gib_more(object(), Placement.MODEL_OFFLOAD, Placement.GROUP_OFFLOAD)

    assert more == 16.0
    assert host.has_room_to_lock(object()) == (host.gib_lacking(more) == 0.0)
