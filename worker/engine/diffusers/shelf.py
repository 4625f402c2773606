"""Model-offload whose weights stay in the host's memory while a copy of them is on the card.

Weights do not change, so what leaves the card need not be copied: on an H200's host, a virtual
machine, that took half a minute of each picture (docs/benchmarks.md).  The hooks of the library say
when a part comes and goes; here is only how it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import torch

from worker.engine.diffusers.precision import has_rounded

_OURS: Final = "_packshot_shelves"


def shelve(pipeline: Any, parts: Iterable[torch.nn.Module]) -> None:  # noqa: ANN401
    """From now on ``part.to("cpu")`` is a return to the weights of now, which are there.

    Parts of rounded weights are left as they are: they are copied both ways.
    """
    shelves = [_Shelf(part) for part in parts if not has_rounded(part)]
    setattr(pipeline, _OURS, _Shelves(pipeline, shelves))


def take_down(pipeline: Any) -> None:  # noqa: ANN401
    """Leave all weights where they are, and forget the host's."""
    shelves = pipeline.__dict__.pop(_OURS, None)
    if shelves is not None:
        shelves.take_down()


class _Shelves:
    """After each edit the library takes its hooks off, and our ``to`` with them, and anew."""

    def __init__(self, pipeline: Any, shelves: list[_Shelf]) -> None:  # noqa: ANN401
        self._pipeline, self._shelves = pipeline, shelves
        self._plainly: Callable[[], None] = pipeline.maybe_free_model_hooks
        pipeline.maybe_free_model_hooks = self._free
        self._put_up()

    def _put_up(self) -> None:
        for shelf in self._shelves:
            shelf.put_up()

    def _free(self) -> None:
        for shelf in self._shelves:
            shelf.put_back()
        self._plainly()
        self._put_up()

    def take_down(self) -> None:
        del self._pipeline.maybe_free_model_hooks
        for shelf in self._shelves:
            shelf.take_down()


class _Shelf:
    """Of one part."""

    def __init__(self, part: torch.nn.Module) -> None:
        self._part = part
        self._kept = [(*place, place[-1].data) for place in _places_in(part)]

    def put_up(self) -> None:
        self._part.__dict__["to"] = self._to

    def take_down(self) -> None:
        self._part.__dict__.pop("to", None)

    def put_back(self) -> None:
        """As ``Module.to`` moves things: what a weight holds, or else another one in its place."""
        for table, name, tensor, kept in self._kept:
            tensor.data = kept
            table[name] = tensor

    def _to(self, *arguments: Any, **choices: Any) -> torch.nn.Module:  # noqa: ANN401 - handed on
        parsed: Any = torch._C._nn._parse_to(*arguments, **choices)  # noqa: SLF001 - as Module.to
        device, dtype, *_ = parsed
        if dtype is not None or device is None or device.type != "cpu":
            moved: torch.nn.Module = type(self._part).to(self._part, *arguments, **choices)
            return moved
        self.put_back()
        return self._part


def _places_in(
    part: torch.nn.Module,
) -> Iterator[tuple[dict[str, torch.Tensor | None], str, torch.Tensor]]:
    for module in part.modules():
        tables: tuple[Any, ...] = (module._parameters, module._buffers)  # noqa: SLF001 - see above
        for table in tables:
            for name, tensor in table.items():
                if tensor is not None:
                    yield table, name, tensor
