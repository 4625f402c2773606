"""How a worker process ends."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The rest of the table stands on the errors."""

    DRAINED = 0
    FATAL = 70  #: the card is lost to this process (sysexits.h: EX_SOFTWARE)
    HUNG = 71  #: the card made no step, or a job beside it gave no sign of life
    STUCK = 72  #: the consumer takes no messages, and rebuilding it did not help
