"""From settings to a supervisor: the composition root."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from worker.pages import serve
from worker.supervisor import nvml, smi
from worker.supervisor.board import Board
from worker.supervisor.child import Program
from worker.supervisor.inventory import slots
from worker.supervisor.losses import LedgerLosses
from worker.supervisor.post import Patience, Post
from worker.supervisor.restarts import Limits
from worker.supervisor.settings import SupervisorSettings, available_cpus
from worker.supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)

#: What a worker needs beyond its drain, to give back the jobs that hang: seconds.
LAST_WORDS: Final = 60.0


def supervise(settings: SupervisorSettings, *, cards: str, environment: Path | None) -> int:
    """Until told to end; the exit code.  Raises ``BadSettings`` before anything is started."""
    program = Program(environment)
    program.resolve()
    driver = nvml.found()
    gpus = driver.gpus() if driver else smi.gpus()
    found = slots(cards, gpus, available=available_cpus())
    ledger = PostgresLedger(Database(settings.database_url.get_secret_value()))
    losses = LedgerLosses(ledger=ledger, lease=settings.lease_seconds)
    supervisor = Supervisor(
        posts=[
            Post(
                slot=slot,
                program=program,
                losses=losses,
                limits=_limits(settings),
                patience=_patience(settings),
            )
            for slot in found
        ],
        losses=losses,
    )
    board = Board(supervisor=supervisor)
    if driver is not None:
        driver.watch([slot.name for slot in found if slot.visible], supervisor.xids.put)
        board = Board(supervisor=supervisor, memory_used=driver.memory_used)
    if settings.supervisor_port:
        serve(board.pages(), settings.supervisor_port, setting="PACKSHOT_SUPERVISOR_PORT")
    names = ",".join(slot.name for slot in found)
    log.info("supervisor_started", extra={"cards": names, "port": settings.supervisor_port})
    return supervisor.run()


def _limits(settings: SupervisorSettings) -> Limits:
    return Limits(
        first_pause=settings.restart_pause,
        longest_pause=settings.restart_pause_most,
        failures=settings.card_failures,
        within=settings.card_failures_within,
    )


def _patience(settings: SupervisorSettings) -> Patience:
    return Patience(
        start=settings.start_timeout,
        silence=settings.supervisor_patience,
        drain=settings.drain_seconds + LAST_WORDS,
    )
