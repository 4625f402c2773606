"""What is compared, and what each side is asked for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from standalone.settings import child_environment

WORKED: Final = timedelta(minutes=5)  # the slowest side gets no longer


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


@dataclass(frozen=True, kw_only=True)
class Rate:
    jobs: int
    seconds: float

    @property
    def per_s(self) -> float:
        return round(self.jobs / self.seconds, 1)


def timed(jobs: int, act: Callable[[], None]) -> Rate:
    began = time.monotonic()
    act()
    return Rate(jobs=jobs, seconds=time.monotonic() - began)


def process(side: Side, jobs: int, environment: Mapping[str, str]) -> Rate:
    """From the first job that is seen to be done until the last; starting up does not count."""
    before = side.finished()
    with running(side.worker(), environment) as is_running:
        first = _until(side, before + 1, is_running)
        began, done = time.monotonic(), first - before
        _until(side, before + jobs, is_running)
    return Rate(jobs=jobs - done, seconds=time.monotonic() - began)


def _until(side: Side, wanted: int, is_running: Callable[[], bool]) -> int:
    pause, deadline = threading.Event(), time.monotonic() + WORKED.total_seconds()
    while (done := side.finished()) < wanted:
        if not is_running() or time.monotonic() > deadline:
            raise SystemExit(f"{side.name or 'packshot'}: {done} of {wanted} jobs have run")
        pause.wait(0.02)
    return done


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
