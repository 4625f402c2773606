"""A few threads side by side: decompressing, hashing and system calls release Python's lock."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Callable


def side_by_side(jobs: Iterable[Callable[[], None]], threads: int) -> None:
    """Raises what the first that failed has raised; what was not begun then is not begun."""
    with ThreadPoolExecutor(threads) as pool:
        given = [pool.submit(job) for job in jobs]
        try:
            done, _ = wait(given, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    for one in done:
        one.result()
