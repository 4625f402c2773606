"""What is compared, and what each side is asked for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from standalone.settings import child_environment

WARM_UP: Final = 100  # jobs that do not count
STARTED: Final = 60.0  # seconds that a worker may take to show its first jobs
LOOK: Final = 0.1  # seconds between two looks, which cost the servers something


class Side(Protocol):
    """One queue with its worker."""

    name: str  #: begins its figures' names; empty: ours

    def submit(self, count: int) -> None:
        """One by one; returns once the last is accepted."""

    def submit_many(self, count: int) -> None:
        """In whatever way is fastest."""

    def worker(self) -> list[str]:
        """The command of one worker process."""

    def finished(self) -> int:
        """How many jobs have run."""

    def waiting(self) -> bool:
        """Whether there is more to do."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    jobs: int
    seconds: float

    @property
    def per_s(self) -> float:
        return round(self.jobs / self.seconds, 1)

    def __add__(self, other: Rate) -> Rate:
        return Rate(jobs=self.jobs + other.jobs, seconds=self.seconds + other.seconds)


def timed(jobs: int, act: Callable[[int], None], *, slices: int, seconds: float) -> Rate:
    """So many jobs in ``slices``; no more of them are begun after ``seconds``."""
    began, done = time.monotonic(), 0
    while done < jobs and time.monotonic() - began < seconds:
        act(jobs // slices)
        done += jobs // slices
    return Rate(jobs=done, seconds=time.monotonic() - began)


def worked(side: Side, environment: Mapping[str, str], seconds: float) -> Rate:
    """One worker, for so long or until nothing is left; starting up does not count."""
    pause, before, limit = threading.Event(), side.finished(), time.monotonic() + STARTED
    with running(side.worker(), environment) as is_running:
        while side.finished() - before < WARM_UP:
            if not is_running() or time.monotonic() > limit:
                raise SystemExit(f"{side.name or 'packshot'}: its worker does not work")
            pause.wait(LOOK)
        began, first = time.monotonic(), side.finished()
        last, spent = first, 0.0
        while spent < seconds and side.waiting():
            pause.wait(LOOK)
            last, spent = side.finished(), time.monotonic() - began
    return Rate(jobs=last - first, seconds=spent)


@contextmanager
def running(command: list[str], environment: Mapping[str, str]) -> Iterator[Callable[[], bool]]:
    child = subprocess.Popen(  # noqa: S603 - our own command lines
        command,
        env=child_environment(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield lambda: child.poll() is None
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]
