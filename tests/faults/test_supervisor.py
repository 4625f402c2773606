"""A supervisor keeps a worker running on each card, and costs no job more than it must."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from time import monotonic
from typing import Any

from jobs.errors import BadSettings, FailureClass, Unavailable
from jobs.states import JobState
from standalone.settings import child_environment
from tests.faults.scene import Scene
from tests.faults.supervised import LEASE, READY, is_alive, kill, supervised
from tests.services import eventually
from worker.exits import Exit
from worker.pages import ask

SOON = timedelta(seconds=60)
TWO = "cpu:0,cpu:1"


def status_of(port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", "status", "--port", str(port)],
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )


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
        shown = status_of(host.port)
        assert (shown.returncode, shown.stdout.count(" working ")) == (0, 2)
        assert host.card(card)["pid"] != int(pid)


def test_a_worker_that_answers_no_probe_is_killed_and_another_one_started(scene: Scene) -> None:
    with supervised(scene, "--cards", "cpu:0", supervisor_patience=3) as host:
        host.eventually_ready()
        frozen = host.card("cpu:0")["pid"]

        os.kill(frozen, signal.SIGSTOP)
        eventually(lambda: host.card("cpu:0")["pid"] not in {frozen, None}, within=SOON)
        host.eventually_ready()
        job = scene.client.wait(scene.submit("the next one").id, timeout=SOON)

        assert job.state is JobState.SUCCEEDED
        assert host.card("cpu:0")["ends"] == {"killed": 1}
        assert not is_alive(frozen)
        assert host.says("it answered no probe for 3 s")


def test_the_attempts_that_end_their_processes_are_counted(scene: Scene) -> None:
    with supervised(scene, "--cards", "cpu:0") as host:
        host.eventually_ready()
        job = scene.client.wait(scene.submit("break it [fatal]").id, timeout=2 * SOON)

        assert job.state is JobState.FAILED
        fatal = 'packshot_attempts_total{card="cpu:0",verdict="worker_fatal"} %.1f'
        eventually(lambda: fatal % job.failures in host.metrics())


def test_a_card_that_fails_again_and_again_is_taken_out_until_a_reload(
    scene: Scene,
) -> None:
    with supervised(scene, "--cards", TWO, card_failures=3) as host:
        host.eventually_ready()
        for _ in range(3):
            host.eventually_ready("cpu:0")
            kill(pid := host.card("cpu:0")["pid"])
            eventually(lambda pid=pid: host.card("cpu:0")["pid"] != pid)  # type: ignore[misc]

        jobs = [scene.submit(f"edit {number}") for number in range(4)]
        done = scene.client.wait_all([job.id for job in jobs], timeout=SOON)

        card = host.card("cpu:0")
        assert {job.state for job in done} == {JobState.SUCCEEDED}
        assert (card["state"], card["pid"], card["ends"]) == ("out", None, {"killed": 3})
        assert card["why"].startswith("out: 3 failures in 600 s, the last one: killed by signal 9")
        assert host.says("card_out") == 1
        assert host.card("cpu:1")["ready"]
        assert 'packshot_card_state{card="cpu:0",state="out"} 1.0' in host.metrics()
        assert ask(host.port, "/readyz") == {"ok": True, "problems": [f"cpu:0: {card['why']}"]}

        host.signal(signal.SIGHUP)  # an operator has looked at it
        host.eventually_ready("cpu:0")


def test_settings_that_are_wrong_are_told_once_a_card_and_start_nothing_again(
    scene: Scene,
) -> None:
    with supervised(scene, "--cards", TWO, engine="diffusers") as host:
        code = host.process.wait(timeout=READY.total_seconds())

        assert code == BadSettings.exit_code
        assert host.says("worker_started") == 2
        assert host.says("card_out") == 2
        assert (
            host.says("PACKSHOT_MODEL_DIR is not set") == 2 * 3
        )  # by it, of its end and of its card
        assert host.says("Traceback") == 0


def test_a_ledger_that_is_away_takes_no_card_out(scene: Scene) -> None:
    scene.environment["PACKSHOT_DATABASE_URL"] = "postgresql://nobody:x@127.0.0.1:1/none"
    with supervised(scene, "--cards", "cpu:0", card_failures=1) as host:
        eventually(lambda: host.says("worker_started") >= 3, within=READY)

        assert set(host.card("cpu:0")["ends"]) == {"ledger_away"}
        assert not host.says("card_out")


def test_sigterm_lets_every_worker_finish_what_it_has_in_hand(scene: Scene) -> None:
    with supervised(scene, "--cards", TWO, fake_steps=20, fake_step_seconds=0.1) as host:
        host.eventually_ready()
        jobs = [scene.submit(f"let me finish {number}") for number in range(2)]
        for job in jobs:
            scene.eventually_running(job.id)
        pids = host.pids()

        host.signal(signal.SIGTERM)
        code = host.process.wait(timeout=60)

        done = [scene.client.status(job.id) for job in jobs]
        assert code == Exit.DRAINED
        assert {(job.state, job.attempt) for job in done} == {(JobState.SUCCEEDED, 1)}
        assert not any(map(is_alive, pids))


def test_a_second_sigterm_gives_the_jobs_back_uncounted(scene: Scene) -> None:
    slow: dict[str, Any] = {"fake_steps": 600, "fake_step_seconds": 0.1, "drain_seconds": 600}
    with supervised(scene, "--cards", "cpu:0", **slow) as host:
        host.eventually_ready()
        job = scene.submit("somebody else will do me")
        scene.eventually_running(job.id)

        host.signal(signal.SIGTERM)
        eventually(lambda: host.says("draining") > 0)
        host.signal(signal.SIGTERM)
        code = host.process.wait(timeout=30)

        job = scene.client.status(job.id)
        assert code == Exit.DRAINED
        assert (job.state, job.attempt, job.failures) == (JobState.QUEUED, 1, 0)


def test_no_worker_outlives_a_supervisor_that_is_killed(scene: Scene) -> None:
    with supervised(scene, "--cards", TWO) as host:
        host.eventually_ready()
        pids = host.pids()
        assert len(pids) == 2

        host.signal(signal.SIGKILL)
        host.process.wait()

        eventually(lambda: not any(map(is_alive, pids)))
        shown = status_of(host.port)
        assert shown.returncode == Unavailable.exit_code
        assert shown.stderr.startswith("packshot-worker: no supervisor on this host")


def test_a_job_that_kills_every_worker_ends_as_a_dead_letter_and_takes_nobody_with_it(
    scene: Scene,
) -> None:
    with supervised(scene, "--cards", TWO, fake_step_seconds=0.05) as host:
        host.eventually_ready()
        poison = scene.submit("poison [kill]")
        others = [scene.submit(f"beside it {number}") for number in range(6)]

        done = scene.client.wait_all([poison.id, *(job.id for job in others)], timeout=2 * SOON)

        assert [job.state for job in done] == [JobState.FAILED, *[JobState.SUCCEEDED] * 6]
        assert done[0].failure is not None
        assert done[0].failure.failure_class is FailureClass.LOST
        host.eventually_ready()
        assert all(card["state"] != "out" for card in host.cards().values())
