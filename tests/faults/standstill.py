"""Workers that stand still: none of their threads runs, and nothing they asked for is under way."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import text

from tests.faults.scene import Scene, Worker
from tests.services import eventually

#: Statements in work of anybody else's.
UNDER_WAY: Final = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND state = 'active' AND pid <> pg_backend_pid()"
)


def freeze(scene: Scene, worker: Worker) -> None:
    """SIGSTOP, and return when it holds.

    The kernel tells one thread of the process alone.  On a busy machine the others go on until
    that one has its turn, and may claim what the test submits next; so may a statement that
    was sent before.
    """
    worker.signal(signal.SIGSTOP)
    eventually(lambda: _states(worker.process.pid) == {"T"})
    eventually(lambda: _under_way(scene) == 0)


def _states(pid: int) -> set[str]:
    """Of all its threads; proc(5)."""
    states = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # that thread has ended
            states.add(stat.read_text().rpartition(")")[2].split()[0])
    return states


def _under_way(scene: Scene) -> int:
    with scene.services.ledger.database.connect() as connection:
        return int(connection.execute(UNDER_WAY).scalar_one())
