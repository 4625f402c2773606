"""A supervisor keeps a worker running on each card, and costs no job more than it must."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from time import monotonic

from jobs.errors import BadSettings, FailureClass
from jobs.states import JobState
from tests.faults.scene import Scene
from tests.faults.supervised import LEASE, READY, is_alive, kill, supervised
from tests.services import eventually
from worker.exits import Exit

SOON = timedelta(seconds=60)
TWO = "cpu:0,cpu:1"


def test_a_job_of_a_killed_worker_runs_again_long_before_its_lease_ends(scene: Scene) -> None:
    with supervised(scene, "--cards", TWO, fake_steps=20, fake_step_seconds=0.1) as host:
        host.eventually_ready()
        job = scene.submit("run me again")
        holder = scene.eventually_running(job.id).holder
        assert holder is not None
        _, card, pid = holder.split("/")

        kill(int(pid))
        killed = monotonic()
        eventually(lambda: scene.client.status(job.id).attempt == 2)
        took = monotonic() - killed
        again = scene.client.status(job.id)
        done = scene.client.wait(job.id, timeout=SOON)
        host.eventually_ready()

        assert took < LEASE.total_seconds() / 2
        assert again.failures == 1
        assert (done.state, done.attempt) == (JobState.SUCCEEDED, 2)
        (move,) = [one for one in scene.services.ledger.history(job.id) if "lost" in one.why]
        assert (move.who, move.why) == ("supervisor", "worker lost: killed by signal 9 (Killed)")
        assert host.card(card)["restarts"] == 1
        assert host.card(card)["pid"] != int(pid)
