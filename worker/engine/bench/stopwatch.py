"""Seconds by part, without making the card wait: it stamps the times itself."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch

from worker.engine.bench.work import settle


class Stopwatch:
    """Watches one pipeline for as long as that lives."""

    def __init__(self, pipeline: Any, device: str) -> None:  # noqa: ANN401 - untyped library
        self._device = device
        self._begun: dict[str, Any] = {}
        self._spans: dict[str, list[tuple[Any, Any]]] = {}
        self.tokens: list[int] = []  #: of each pass of the transformer
        for name in ("text_encoder", "transformer"):
            part = getattr(pipeline, name)
            part.register_forward_pre_hook(functools.partial(self._before, name), with_kwargs=True)
            part.register_forward_hook(functools.partial(self._after, name))
        for name in ("encode", "decode"):
            setattr(pipeline.vae, name, self._timed(f"vae_{name}", getattr(pipeline.vae, name)))

    def restart(self) -> None:
        self._begun.clear()
        self._spans.clear()
        self.tokens.clear()

    def seconds(self) -> dict[str, list[float]]:
        """Of each passage through each part, in order."""
        settle(self._device)
        return {
            name: [self._between(*span) for span in spans] for name, spans in self._spans.items()
        }

    def _before(self, name: str, _part: object, _arguments: object, choices: Any) -> None:  # noqa: ANN401
        if name == "transformer":
            lengths = (choices[one].shape[1] for one in ("hidden_states", "encoder_hidden_states"))
            self.tokens.append(sum(lengths))
        self._begun[name] = self._now()

    def _after(self, name: str, _part: object, _arguments: object, _result: object) -> None:
        self._spans.setdefault(name, []).append((self._begun.pop(name), self._now()))

    def _timed(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def timed(*arguments: Any, **choices: Any) -> Any:  # noqa: ANN401 - handed on
            began = self._now()
            result = plain(*arguments, **choices)
            self._spans.setdefault(name, []).append((began, self._now()))
            return result

        return timed

    def _now(self) -> Any:  # noqa: ANN401 - a time, or an event that will know it
        if self._device == "cpu":
            return time.perf_counter()
        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _between(self, began: Any, ended: Any) -> float:  # noqa: ANN401
        if self._device == "cpu":
            return float(ended - began)
        return float(began.elapsed_time(ended)) / 1000
