"""A name in a column that may be too narrow for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

GAP: Final = "…"
LEAST: Final = 12  # columns


@dataclass(frozen=True, slots=True)
class Cut:
    """One line, without its middle where room is short: names of files that belong together
    differ at the end, instructions at the beginning.
    """

    text: str

    def __rich_measure__(self, _console: Console, options: ConsoleOptions) -> Measurement:
        width = cell_len(self.text)
        return Measurement(min(width, LEAST), width).with_maximum(options.max_width)

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(cut(self.text, options.max_width), no_wrap=True, overflow="crop")


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns of a terminal, where some characters take two."""
    if cell_len(text) <= width:
        return text
    end = (width - 1) // 2
    head, tail = set_cell_size(text, width - 1 - end), set_cell_size(text[::-1], end)[::-1]
    return f"{head}{GAP}{tail}"
