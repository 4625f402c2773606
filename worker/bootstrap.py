"""From settings to a worker: the composition root."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

from jobs.connect import connect
from jobs.errors import BadSettings
from worker.card.pinning import pin
from worker.engine.base import Engine
from worker.exits import Exit
from worker.health import Health
from worker.pages import serve
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)


def load_engine(settings: WorkerSettings) -> Engine:
    """Seconds to minutes for a real model.  Raises ``BadSettings``."""
    pin(settings.card)
    if settings.engine == "fake":
        from worker.engine.fake import FakeEngine, by_word  # noqa: PLC0415 - only if asked for

        return FakeEngine(
            card=settings.card,
            steps=settings.fake_steps,
            step_seconds=settings.fake_step_seconds,
            fault=by_word if settings.fake_faults else None,
            fault_before=by_word if settings.fake_faults else None,
        )
    folder = settings.weights  # raises before torch is imported
    from worker.engine.diffusers.engine import (  # noqa: PLC0415 - imports torch
        DiffusersEngine,
        Options,
    )

    try:
        return DiffusersEngine.load(
            folder,
            card=settings.card,
            model=settings.model,
            threads=settings.threads,
            options=Options(
                profiles=settings.profile_names,
                placement=settings.placement,
                licences=settings.licence_names,
                compiled=settings.compiled,
                memory=_home(settings.digests_dir),
            ),
        )
    except RuntimeError as error:  # torch's own: no driver, no such card, no memory on it
        raise BadSettings(f"card {settings.card}: {str(error).splitlines()[0]}") from error


def _home(path: Path) -> Path | None:
    try:
        return path.expanduser()
    except RuntimeError:  # a container's user may have no home
        return None


def _end_at_once_when_told() -> None:
    """While nothing is in hand; until ``WorkerProcess`` listens.

    The kernel keeps such a signal from a container's first process unless it listens.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(Exit.DRAINED))


def run(settings: WorkerSettings) -> int:
    """Load, warm up, work until told to end; the exit code."""
    from worker.process import WorkerProcess  # noqa: PLC0415 - imports Celery

    _end_at_once_when_told()
    log.info("worker_starting", extra=settings.redacted())
    health = Health(settings.release or "")
    if settings.health_port:
        serve(health.pages(), settings.health_port, setting="PACKSHOT_HEALTH_PORT")
    services = connect(settings)
    services.check()  # before the minutes that a model takes to load
    engine = load_engine(settings)
    engine.warm_up()
    return int(WorkerProcess(settings, services, engine, health).run())
