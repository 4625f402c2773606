"""When the next process of a card starts, and when none does any more."""

from __future__ import annotations

from signal import SIGSEGV

import pytest

from jobs.errors import BadSettings, Unavailable
from worker.exits import Exit
from worker.supervisor.endings import Ended, Ending, ended
from worker.supervisor.restarts import HEALTHY, Limits, Restarts

FATAL = ended(Exit.FATAL)


def most(_least: float, most: float) -> float:
    return most


def restarts(**limits: float) -> Restarts:
    return Restarts(limits=Limits(**limits), pick=most)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (Exit.DRAINED, Ending.DRAINED),
        (Exit.FATAL, Ending.FATAL),
        (Exit.HUNG, Ending.HUNG),
        (Exit.STUCK, Ending.STUCK),
        (BadSettings.exit_code, Ending.SETTINGS),
        (Unavailable.exit_code, Ending.AWAY),
        (69, Ending.SETTINGS),
        (-9, Ending.KILLED),
        (1, Ending.CRASHED),
    ],
)
def test_every_exit_code_has_an_ending(code: int, ending: Ending) -> None:
    assert ended(code).ending is ending


def test_every_exit_of_a_worker_has_an_ending_of_its_own() -> None:
    endings = [ended(code).ending for code in Exit]

    assert len({*endings}) == len(endings)
    assert Ending.CRASHED not in endings


def test_an_ending_says_what_the_process_said_last() -> None:
    settings = ended(BadSettings.exit_code, last_words="packshot-worker: PACKSHOT_CARD: no")

    assert settings.reason == (
        "its settings are wrong (exit code 3): packshot-worker: PACKSHOT_CARD: no"
    )
    assert ended(-SIGSEGV).why == "killed by signal 11 (Segmentation fault)"
    assert ended(-9, killed_for="it answered no probe").why == "it answered no probe"


def test_pauses_double_up_to_the_longest() -> None:
    history = restarts(first_pause=1, longest_pause=8, failures=99)

    pauses = [history.after(FATAL, now=0, worked=1).pause for _ in range(6)]

    assert pauses == [1, 2, 4, 8, 8, 8]


def test_a_pause_is_anywhere_below_its_limit() -> None:
    history = Restarts(limits=Limits(failures=9_999))
    for _ in range(8):
        history.after(FATAL, now=0, worked=0)

    pauses = [history.after(FATAL, now=0, worked=0).pause for _ in range(200)]

    assert all(0 <= pause <= 60 for pause in pauses)
    assert max(pauses) - min(pauses) > 30


def test_a_healthy_while_makes_the_next_pause_the_first() -> None:
    history = restarts(failures=99)
    for _ in range(5):
        history.after(FATAL, now=0, worked=HEALTHY - 1)

    assert history.after(FATAL, now=0, worked=HEALTHY).pause == 1


def test_failures_within_the_window_take_a_card_out() -> None:
    history = restarts(failures=3, within=100)

    verdicts = [history.after(FATAL, now=now, worked=HEALTHY) for now in (0, 99, 101, 102)]

    assert [bool(one.out) for one in verdicts] == [False, False, False, True]
    assert verdicts[-1].out == (
        "3 failures in 100 s, the last one: the card was lost to the process (exit code 70)"
    )


@pytest.mark.parametrize("ending", [Ending.AWAY, Ending.STUCK, Ending.DRAINED])
def test_what_is_no_fault_of_the_card_takes_none_out(ending: Ending) -> None:
    history = restarts(failures=1)

    verdicts = [history.after(Ended(ending=ending, why=""), now=0, worked=0) for _ in range(50)]

    assert not any(one.out for one in verdicts)


def test_wrong_settings_are_not_tried_twice() -> None:
    assert restarts().after(Ended(ending=Ending.SETTINGS, why="no model"), now=0, worked=0).out


def test_a_reload_forgives() -> None:
    history = restarts(failures=2)
    history.after(FATAL, now=0, worked=0)

    history.forgive()

    assert not history.after(FATAL, now=1, worked=0).out
