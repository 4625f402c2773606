"""A card that fails on purpose, at a pass of the transformer that the test names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class FaultyCard:
    """Counts the passes of a pipeline's transformer; the listed ones raise, once each."""

    def __init__(self, pipeline: Any, *, fails_at: tuple[int, ...] = ()) -> None:  # noqa: ANN401
        self.passes = 0
        self._transformer = pipeline.transformer
        self._fails_at = set(fails_at)

    @contextmanager
    def plugged_in(self) -> Iterator[FaultyCard]:
        hook = self._transformer.register_forward_pre_hook(self._count)
        try:
            yield self
        finally:
            hook.remove()

    def _count(self, _module: object, _arguments: object) -> None:
        self.passes += 1
        if self.passes in self._fails_at:
            raise torch.OutOfMemoryError(f"CUDA out of memory at pass {self.passes}")
