"""A call that may hang: it runs in a thread of its own, and who waits for it can leave."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

from jobs.errors import Unavailable

T = TypeVar("T")

#: How often one who waits asks whether it still should: seconds.
ASK_EVERY: Final = 0.1
#: No call of a server takes longer; one that sends byte by byte would never end: seconds.
LONGEST: Final = 300.0


def aside(act: Callable[[], T], check: Callable[[], None], *, longest: float = LONGEST) -> T:
    """What ``act`` returns or raises; what ``check`` raises while it runs.

    The call that is left behind goes on, and nobody hears how it ended.  Raises ``Unavailable``
    after ``longest`` seconds.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(act())
        except BaseException as error:  # noqa: BLE001 - heard by who waits
            answer.set_exception(error)

    threading.Thread(target=run, name="aside", daemon=True).start()
    for _ in range(max(1, round(longest / ASK_EVERY))):
        try:
            return answer.result(timeout=ASK_EVERY)
        except TimeoutError:
            if answer.done():  # it was the call's own
                return answer.result()
            check()
    raise Unavailable(f"no end of a call after {longest:g} s")
