"""Probes of a real worker: they tell of its own progress, and of nobody else's."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from threading import Event

import pytest

from jobs.errors import BadSettings, Unavailable
from standalone.settings import child_environment
from tests.faults.proxy import Proxy
from tests.faults.scene import Scene
from tests.faults.test_redis_away import frozen, refusing
from tests.services import eventually
from worker.pages import ask
from worker.supervisor.child import free_port

SOON = timedelta(seconds=60)


@pytest.fixture
def port(scene: Scene) -> int:
    port = free_port()  # none that the kernel would give away meanwhile
    scene.environment["PACKSHOT_HEALTH_PORT"] = str(port)
    return port


def test_a_working_worker_is_alive_and_ready(scene: Scene, port: int) -> None:
    scene.worker()

    assert ask(port, "/livez") == {"ok": True, "phase": "working", "release": "", "problems": []}
    assert ask(port, "/readyz")["ok"]
    assert "/livez" in ask(port, "/elsewhere")["paths"]


def test_an_outage_of_redis_makes_no_worker_dead_or_unready(scene: Scene, port: int) -> None:
    scene.worker()
    for fault in (refusing, frozen):
        with fault(scene.servers):
            Event().wait(2)  # the fault itself takes this long
            answers = [ask(port, path)["ok"] for path in ("/livez", "/readyz")]

        assert answers == [True, True]


def test_a_draining_worker_is_not_ready(scene: Scene, port: int) -> None:
    worker = scene.worker(steps=50, step_seconds=0.1)
    scene.eventually_running(scene.submit("let me finish").id)

    worker.signal(signal.SIGTERM)

    eventually(lambda: not ask(port, "/readyz")["ok"])
    assert ask(port, "/livez")["ok"]


def test_a_worker_with_a_hung_card_says_so_while_it_ends(scene: Scene, port: int) -> None:
    scene.environment["PACKSHOT_CARD_TIMEOUT"] = "2"
    with Proxy(scene.servers.postgres.port) as proxy:
        scene.environment["PACKSHOT_DATABASE_URL"] = proxy.url(
            scene.environment["PACKSHOT_DATABASE_URL"]
        )
        proxy.held_back = b"card_hung"  # its last words wait for the ledger; else it is gone
        scene.worker(step_seconds=0.1)
        scene.submit("wait for me [hang]")
        eventually(proxy.is_holding.is_set, within=SOON)

        assert "the card made no step for 2 s" in ask(port, "/livez")["problems"]


def test_the_command_asks_for_people_and_supervisors(scene: Scene, port: int) -> None:
    def asked(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "worker", "health", *options],
            env=child_environment(scene.environment),
            capture_output=True,
            text=True,
            check=False,
        )

    before = asked()
    del scene.environment["PACKSHOT_HEALTH_PORT"]
    nowhere = asked()
    scene.environment["PACKSHOT_HEALTH_PORT"] = str(port)
    worker = scene.worker()
    after = asked("--ready", "--port", str(port))
    worker.end()

    assert (before.returncode, after.returncode) == (Unavailable.exit_code, 0)
    assert "nobody answers" in before.stderr
    assert json.loads(after.stdout)["ok"]
    assert nowhere.returncode == BadSettings.exit_code
    assert "--port" in nowhere.stderr


def test_a_taken_port_is_told_before_the_model_is_loaded(scene: Scene, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        done = subprocess.run(
            [sys.executable, "-m", "worker", "run"],
            env=child_environment({**scene.environment, "PACKSHOT_ENGINE": "fake"}),
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 3
    assert f"PACKSHOT_HEALTH_PORT: 127.0.0.1:{port}" in done.stderr
    assert "choose another port" in done.stderr
