"""A worker that kills itself at a named point: ``python -m tests.faults.crash_points POINT``.

Its bucket or its ledger does what was asked, and then the process is gone, as by a power cut.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from jobs import log
from jobs.artifacts import ArtifactStore
from jobs.connect import Services, connect
from jobs.ledger import Ledger
from jobs.model import ArtifactKey, Job, Lease, Result
from worker.engine.fake import FakeEngine
from worker.process import WorkerProcess
from worker.settings import WorkerSettings


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Through:
    """Everything but one call goes to what stands behind."""

    def __init__(self, inside: object) -> None:
        self._inside = inside

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever stands behind
        return getattr(self._inside, name)


class DiesAfterUpload(_Through):
    def put(self, key: ArtifactKey, data: bytes, *, media_type: str) -> None:
        cast("ArtifactStore", self._inside).put(key, data, media_type=media_type)
        die()


class DiesAfterCommit(_Through):
    def complete(self, lease: Lease, result: Result, *, timings: Mapping[str, float]) -> Job:
        job = cast("Ledger", self._inside).complete(lease, result, timings=timings)
        die()
        return job


def rigged(services: Services, point: str) -> Services:
    if point == "upload":
        return replace(services, artifacts=cast("Any", DiesAfterUpload(services.artifacts)))
    return replace(services, ledger=cast("Any", DiesAfterCommit(services.ledger)))


def main() -> None:
    settings = WorkerSettings.load()
    log.set_up(as_json=False)
    services = rigged(connect(settings), sys.argv[1])
    code = WorkerProcess(settings, services, FakeEngine()).run()
    os._exit(int(code))


if __name__ == "__main__":
    main()
