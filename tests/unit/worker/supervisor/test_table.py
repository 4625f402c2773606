"""The host's cards for a person."""

from __future__ import annotations

from typing import Any

from worker.supervisor.table import show

CARD = {
    "card": "GPU-aaaa",
    "state": "working",
    "ready": True,
    "seconds": 7_300,
    "why": "",
    "pid": 4711,
    "restarts": 1,
    "succeeded": 812,
    "failed": 3,
    "busy_share": 0.994,
    "memory_bytes": 2 * 2**30,
    "card_memory_bytes": 58 * 2**30,
}
OUT = {
    **CARD,
    "card": "GPU-bbbb",
    "state": "out",
    "ready": False,
    "seconds": 59,
    "why": "out: XID 79: the card has fallen off the bus",
    "pid": None,
    "busy_share": None,
    "memory_bytes": None,
    "card_memory_bytes": None,
}


def shown(*cards: dict[str, Any], roll: dict[str, Any] | None = None) -> list[str]:
    return [line.rstrip() for line in show({"cards": cards, "roll": roll}).splitlines()]


def test_a_card_is_a_line_and_what_is_wrong_another() -> None:
    assert shown(CARD, OUT) == [
        "card      state     for   pid  restarts  done  failed  busy          memory",
        "GPU-aaaa  working   2 h  4711         1   812       3   99%  2.0 + 58.0 GiB",
        "GPU-bbbb  out      59 s               1   812       3",
        "GPU-bbbb  out: XID 79: the card has fallen off the bus",
    ]


def on_eight_cards(width: int) -> list[str]:
    cards = [
        {**CARD, "card": f"GPU-3c1f{n}d0e-5b7a-4f0e-9d55-0a1b2c3d4e5f", "release": f"{n}b" * 32}
        for n in range(8)
    ]
    return show({"cards": cards, "roll": None}, width=width).splitlines()


def test_a_narrow_terminal_shows_whole_words_and_goes_without_the_least() -> None:
    wide, usual, narrow = (on_eight_cards(width) for width in (120, 80, 50))

    assert all(len(lines) == 9 for lines in (wide, usual, narrow))
    assert not any("…" in line for lines in (wide, usual, narrow) for line in lines)
    assert ["pid" in lines[0] for lines in (wide, usual, narrow)] == [True, False, False]
    assert ["release" in lines[0] for lines in (wide, usual, narrow)] == [True, True, False]
    assert all("GPU-3c1f7d0e" in lines[8] for lines in (wide, usual, narrow))
    assert "working" in narrow[8]


def test_names_are_as_long_as_tells_them_apart() -> None:
    names = ["GPU-aaaaaaaa-1111", "GPU-aaaaaaaa-2222"]

    lines = shown(*({**CARD, "card": name} for name in names))

    assert [line.split()[0] for line in lines[1:]] == ["GPU-aaaaaaaa-1", "GPU-aaaaaaaa-2"]


def test_a_worker_that_works_and_is_not_ready_says_so() -> None:
    assert "not ready" in shown({**CARD, "ready": False})[1]


def test_how_the_last_reload_went_stands_below() -> None:
    roll = {"outcome": "stopped", "why": "GPU-bbbb: no model", "done": ["GPU-aaaa"]}

    assert shown(CARD, roll=roll)[-1] == "reload stopped (GPU-aaaa): GPU-bbbb: no model"
