"""A Postgres that is frozen answers nobody, and its kernel says that all is well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

import pytest

from jobs.errors import Unavailable
from jobs.postgres.connection import ANSWER_TIMEOUT, RESTED, Database
from jobs.states import JobState
from tests.faults.scene import Scene
from tests.services import eventually

SOON = timedelta(seconds=90)
BOUND = 15.0  # seconds: a ping of 5, a new connection of 5, and a busy machine


def let_rest() -> None:
    """Until the connections in the pool will be pinged before they are used again."""
    began = monotonic()
    eventually(lambda: monotonic() - began > RESTED)


@contextmanager
def frozen_ledger(scene: Scene) -> Iterator[None]:
    scene.servers.postgres.pause()
    try:
        yield
    finally:
        scene.servers.postgres.resume()


def test_a_submit_to_a_frozen_ledger_fails_clearly_and_soon(scene: Scene) -> None:
    scene.worker().end()
    before = scene.submit("while it answers")

    with frozen_ledger(scene):
        began = monotonic()
        with pytest.raises(Unavailable, match="Postgres at"):
            scene.submit("while it is frozen")
        waited = monotonic() - began

    assert waited < ANSWER_TIMEOUT + 5  # its connection may have been in use a moment ago
    assert scene.client.status(before.id).state is JobState.QUEUED


def test_an_idle_connection_to_a_frozen_ledger_is_not_waited_for_long(scene: Scene) -> None:
    database = Database(scene.environment["PACKSHOT_DATABASE_URL"])
    with database.connect():
        pass  # open from now on, and in the pool
    let_rest()

    with frozen_ledger(scene):
        began = monotonic()
        with pytest.raises(Unavailable, match="Postgres at"), database.connect():
            pass  # pragma: no cover - never entered
        waited = monotonic() - began

    assert waited < BOUND
    database.close()


def test_jobs_outlive_a_frozen_ledger(scene: Scene) -> None:
    """The cards compute on; what the workers could not say, they say when it is back."""
    workers = [scene.worker(steps=10, step_seconds=0.2) for _ in range(2)]
    jobs = [scene.submit(f"carry on {number}") for number in range(8)]
    scene.eventually_running(jobs[0].id)

    with frozen_ledger(scene):
        for worker in workers:
            eventually(
                lambda log=worker.log: b"ledger_away" in log.read_bytes(),  # type: ignore[misc]
                within=timedelta(seconds=ANSWER_TIMEOUT + 20),
            )

    done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)
    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert all(worker.process.poll() is None for worker in workers)
    moves = [scene.services.ledger.history(job.id) for job in done]
    assert {[move.to_state for move in one].count(JobState.SUCCEEDED) for one in moves} == {1}
