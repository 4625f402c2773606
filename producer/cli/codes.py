"""Exit codes of the command line, apart so that the start can end without loading the rest."""

from __future__ import annotations

from typing import Final

FAULT: Final = 1
JOB_FAILED: Final = 10
INTERRUPTED: Final = 130  # as the shell says of a program that SIGINT ended
READ_NO_MORE: Final = 141  # as of a program that SIGPIPE ended
