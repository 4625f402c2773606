"""The host's cards for a person."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS: Final = {"working": "green", "out": "red", "stopped": "dim"}
WIDTH: Final = 120  # where nobody looks at it on a terminal
GAP: Final = 2  # between two columns
GIB: Final = 2**30
LEFT: Final = frozenset({"card", "state", "release"})
#: Of a card's name or a release's digest: ``GPU-`` and 8 digits, as a person compares them.
HEAD: Final = 12
#: What a narrow terminal goes without, this first; ``--json`` has it all.
SPARED: Final = ("pid", "restarts", "memory", "release", "for")


def show(found: Mapping[str, Any], *, width: int | None = None) -> str:
    """What ``/status`` says, as a table and a line on the last reload."""
    width, is_terminal = width or WIDTH, width is not None
    console = Console(file=io.StringIO(), width=width, force_terminal=is_terminal)
    console.print(_table(_rows(found["cards"]), width))
    said = [f"{card['card']}  {card['why']}" for card in found["cards"] if card["why"]]
    for line in [*said, *_roll(found["roll"])]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    assert isinstance(console.file, io.StringIO), "as it was made"
    return console.file.getvalue().rstrip()


def _table(rows: Sequence[Mapping[str, str]], width: int) -> Table:
    columns = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    if not any(row["release"] for row in rows):
        del columns["release"]
    for name in SPARED:
        if sum(columns.values()) + GAP * (len(columns) - 1) > width:
            columns.pop(name, None)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=True, justify="left" if name in LEFT else "right")
    for row in rows:
        colour = COLOURS.get(row["state"], "yellow")
        coloured: dict[str, str | Text] = {**row, "state": Text(row["state"], colour)}
        table.add_row(*(coloured[name] for name in columns))
    return table


def _rows(cards: Sequence[Mapping[str, Any]]) -> list[Mapping[str, str]]:
    names = [card["card"] for card in cards]
    head = next(
        size for size in range(HEAD, 99) if len({one[:size] for one in names}) == len(names)
    )
    return [_row(card, card["card"][:head]) for card in cards]


def _row(card: Mapping[str, Any], name: str) -> Mapping[str, str]:
    is_unready = card["state"] == "working" and not card["ready"]
    return {
        "card": name,
        "state": "not ready" if is_unready else card["state"],
        "for": _span(card["seconds"]),
        "pid": str(card["pid"] or ""),
        "restarts": str(card["restarts"]),
        "done": str(card["succeeded"]),
        "failed": str(card["failed"]),
        "busy": "" if card["busy_share"] is None else f"{card['busy_share']:.0%}",
        "memory": _memory(card),
        "release": card.get("release", "")[:HEAD],
    }


def _memory(card: Mapping[str, Any]) -> str:
    """Of the process; of the card too, where the driver tells."""
    counts = (card["memory_bytes"], card["card_memory_bytes"])
    shown = " + ".join(f"{count / GIB:.1f}" for count in counts if count)
    return f"{shown} GiB" if shown else ""


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
