"""One host with cards, its releases, and the workers and supervisors that start from them.

The releases' applications are this project's code, on the Python of the tests; their engine is the
fake one.  Ledger, queue and bucket are real servers.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from envpack.node.host import Host
from jobs.model import Job
from standalone.settings import child_environment
from tests.envpack_depot import Content
from tests.faults.supervised import Supervised, supervised
from tests.scene import Scene, Worker

PROJECT: Final = Path(__file__).parents[3]
#: Says where it is when it is checked; else it is the Python of these tests.
PYTHON: Final = f"""#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
case "$*" in *importlib*) echo "[\\"$here\\", {{}}]" ;; *) exec {sys.executable} "$@" ;; esac
"""
DONE: Final = timedelta(seconds=60)
WAIT: Final = 20  # what ``judge`` ends with


def application() -> Content:
    """The code of workers and of clients, as it stands here."""
    files = {
        path.relative_to(PROJECT).as_posix(): (path.read_bytes(), 0o644)
        for package in ("jobs", "producer", "worker")
        for path in (PROJECT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return Content(files=files)


@dataclass(kw_only=True)
class Floor(Scene):
    host: Host
    on_cards: dict[str, Worker] = field(default_factory=dict)

    def start(self, card: str) -> None:
        """The worker of a card, as a unit of systemd starts it: from ``current``, ready."""
        self.stop(card)
        self.on_cards[card] = self.started(card, program=[self._program("packshot-worker")])

    def stop(self, card: str) -> None:
        if worker := self.on_cards.pop(card, None):
            worker.signal(signal.SIGTERM)
            assert worker.process.wait(timeout=DONE.total_seconds()) == 0

    def supervised(self, *cards: str) -> AbstractContextManager[Supervised]:
        """A supervisor, as its unit starts it: from ``current``, and its workers too."""
        return supervised(
            self,
            *("--cards", ",".join(cards), "--env", str(self.host.root / "current")),
            program=[self._program("packshot-worker")],
            fake_faults=None,  # as the releases say
        )

    def releases(self) -> dict[str, str | None]:
        """Card → release, of the workers that the ledger knows."""
        return {one.card: one.release for one in self.services.ledger.live_workers()}

    def edited(self, instructions: Sequence[str], salt: str) -> list[Job]:
        """Jobs that have ended; a failure is not tried again."""
        jobs = [
            self.client.submit(replace(self.edit(one), salt=f"{salt}-{number}", max_failures=1))
            for number, one in enumerate(instructions)
        ]
        return [self.client.wait(job.id, timeout=DONE) for job in jobs]

    def envpack(self, *words: str) -> str:
        """What ``packshot-env …`` on this host prints."""
        command = [sys.executable, "-m", "envpack", *words, "--root", str(self.host.root)]
        return subprocess.run(
            command, cwd=PROJECT, capture_output=True, check=True, text=True
        ).stdout

    def judged(self, baseline: str) -> dict[str, Any]:
        """What ``packshot report … | packshot-env judge -`` says."""
        words = ["judge", "-", "--baseline", baseline, "--no-golden", "--json"]
        judge = [sys.executable, "-m", "envpack", *words]
        report = json.dumps(self.report(baseline)).encode()
        ended = subprocess.run(judge, input=report, capture_output=True, check=False, cwd=PROJECT)
        found: dict[str, Any] = json.loads(ended.stdout)
        return {**found, "exit_code": ended.returncode}

    def report(self, baseline: str) -> dict[str, Any]:
        """What ``packshot report --by release`` says."""
        words = ["report", "--by", "release", "--baseline", baseline, "--json"]
        told = subprocess.run(
            [self._program("packshot"), *words],
            cwd="/",
            env=child_environment(self.environment),
            capture_output=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(told.stdout)
        return found

    def _program(self, name: str) -> str:
        return str(self.host.root / "current/bin" / name)


def runs_from(pid: int) -> str:
    """The application's folder that a process imports from."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (path,) = (one for one in environment if one.startswith(b"PYTHONPATH="))
    return path.partition(b"=")[2].decode()
