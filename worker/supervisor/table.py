"""The host's cards for a person."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

COLOURS: Final = {"working": "green", "out": "red", "stopped": "dim"}
WIDTH: Final = 120  # where nobody looks at it on a terminal
GIB: Final = 2**30


def show(found: Mapping[str, Any], *, width: int | None = None) -> str:
    """What ``/status`` says, as a table and a line on the last reload."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("card", "state", "for", "pid", "restarts", "done", "failed", "busy", "memory"):
        table.add_column(name, no_wrap=True, justify="right" if name in NUMBERS else "left")
    for card in found["cards"]:
        table.add_row(*_row(card))
    console = Console(file=io.StringIO(), width=width or WIDTH, force_terminal=width is not None)
    console.print(table)
    for card in found["cards"]:
        if card["why"]:
            console.print(f"{card['card']}  {card['why']}", markup=False, highlight=False)
    for line in _roll(found["roll"]):
        console.print(line, markup=False, highlight=False)
    assert isinstance(console.file, io.StringIO), "as it was made"
    return console.file.getvalue().rstrip()


NUMBERS: Final = frozenset({"for", "pid", "restarts", "done", "failed", "busy", "memory"})


def _row(card: Mapping[str, Any]) -> list[str]:
    state, colour = card["state"], COLOURS.get(card["state"], "yellow")
    name = state if card["ready"] or state != "working" else "not ready"
    busy = "" if card["busy_share"] is None else f"{card['busy_share']:.0%}"
    return [
        card["card"],
        f"[{colour if name == state else 'yellow'}]{name}[/]",
        _span(card["seconds"]),
        str(card["pid"] or ""),
        str(card["restarts"]),
        str(card["succeeded"]),
        str(card["failed"]),
        busy,
        _memory(card),
    ]


def _memory(card: Mapping[str, Any]) -> str:
    """Of the process; of the card too, where the driver tells."""
    counts = (card["memory_bytes"], card["card_memory_bytes"])
    return " + ".join(f"{count / GIB:.1f} GiB" for count in counts if count)


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _roll(roll: Mapping[str, Any] | None) -> list[str]:
    if roll is None:
        return []
    why = f": {roll['why']}" if roll["why"] else ""
    done = f" ({', '.join(roll['done'])})" if roll["done"] else ""
    return [f"reload {roll['outcome']}{done}{why}"]
