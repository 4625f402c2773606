"""Asking, before each long piece of an edit, whether it should go on.

diffusers calls back after a step only.  Here the question comes before each pass of the text
encoder, each picture of the VAE and each pass of the transformer (a step has two with
guidance), so that a cancelled edit ends within one of them; and before the card is taken, before
each scaling of a picture.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from worker.engine.base import Ask, go_on

T = TypeVar("T")


def asking_before(ask: Ask, each: Iterable[T]) -> Iterator[T]:
    for one in each:
        ask()
        yield one


class Phases:
    """Watches one pipeline for as long as that lives; ``asking`` says whom to ask."""

    def __init__(self, pipeline: Any) -> None:  # noqa: ANN401 - untyped library
        self._ask: Ask = go_on
        for name in ("text_encoder", "text_encoder_2", "transformer"):
            part = getattr(pipeline, name, None)
            if part is not None:
                part.register_forward_pre_hook(self._before)
        pipeline.vae.encode = self._asked_first(pipeline.vae.encode)

    @contextmanager
    def asking(self, ask: Ask) -> Iterator[None]:
        self._ask = ask
        try:
            yield
        finally:
            self._ask = go_on

    def _before(self, _part: object, _arguments: object) -> None:
        self._ask()

    def _asked_first(self, encode: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(encode)
        def asked(*arguments: Any, **choices: Any) -> Any:  # noqa: ANN401 - handed on
            self._ask()
            return encode(*arguments, **choices)

        return asked
