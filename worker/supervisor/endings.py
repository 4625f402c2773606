"""How a worker process may end, and what follows from it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jobs.errors import BadSettings, Unavailable
from worker.exits import Exit


class Ending(StrEnum):
    """Why a process is there no more.  Values are labels of metrics."""

    DRAINED = "drained"
    SETTINGS = "settings"  #: starting it again does not help
    AWAY = "ledger_away"  #: or its schema is another
    FATAL = "fatal"
    HUNG = "hung"
    STUCK = "stuck"
    KILLED = "killed"  #: by a signal, ours included
    CRASHED = "crashed"  #: any other exit code

    @property
    def blames_card(self) -> bool:
        """Whether it counts towards taking the card out."""
        return self in BLAMED


BLAMED: Final = frozenset({Ending.FATAL, Ending.HUNG, Ending.KILLED, Ending.CRASHED})
#: Of a release's own program, which was moved or copied (sysexits.h: EX_UNAVAILABLE).
MOVED: Final = 69
BY_CODE: Final = {
    MOVED: (Ending.SETTINGS, "its environment was moved"),
    int(Exit.DRAINED): (Ending.DRAINED, "it was told to end"),
    BadSettings.exit_code: (Ending.SETTINGS, "its settings are wrong"),
    Unavailable.exit_code: (Ending.AWAY, "the ledger was away, or its schema is another"),
    int(Exit.FATAL): (Ending.FATAL, "the card was lost to the process"),
    int(Exit.HUNG): (Ending.HUNG, "the card made no step"),
    int(Exit.STUCK): (Ending.STUCK, "its consumer took no messages"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    ending: Ending
    why: str
    words: str = ""  #: its last ones, where they are the reason

    @property
    def reason(self) -> str:
        return f"{self.why}: {self.words}" if self.words else self.why


def ended(code: int, *, killed_for: str = "", last_words: str = "") -> Ended:
    """From a process's return code, as ``subprocess`` gives it.

    ``killed_for``: why we killed it ourselves.  ``last_words``: the last line it said to its
    standard error.
    """
    if code < 0:
        why = killed_for or f"killed by signal {-code} ({signal.strsignal(-code)})"
        return Ended(ending=Ending.KILLED, why=why)
    ending, why = BY_CODE.get(code, (Ending.CRASHED, "it crashed"))
    words = last_words if ending in SAID else ""
    return Ended(ending=ending, why=f"{why} (exit code {code})", words=words)


#: Endings whose reason stands on the standard error.
SAID: Final = frozenset({Ending.SETTINGS, Ending.AWAY, Ending.CRASHED})
