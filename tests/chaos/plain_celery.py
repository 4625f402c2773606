"""``make recovery``: one worker of two is killed by SIGKILL in the middle of a job.

How long until the job runs again: here, and in plain Celery with ``acks_late`` on the same Redis.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import monotonic, time
from typing import Any, Final

import redis

from jobs.ledger import LEASE
from standalone.redis import RedisServer
from standalone.servers import Servers
from standalone.settings import child_environment
from tests.chaos.plain_app import STARTS, VISIBILITY_TIMEOUT, edit
from tests.faults.scene import scene_on
from tests.services import eventually

WATCHED: Final = 90.0  # seconds after the kill
READY: Final = timedelta(seconds=60)
PROMISE: Final = LEASE.total_seconds() + 5
REPEATS: Final = 3
RESULT: Final = Path(__file__).parents[2] / "build" / "bench" / "recovery.json"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="packshot-recovery-") as folder:
        servers = Servers(Path(folder) / "servers")
        try:
            with servers:
                ours = [with_packshot(servers, Path(folder)) for _ in range(REPEATS)]
                celerys = with_celery(servers.redis, Path(folder))
        finally:
            servers.erase()
    found = {
        "packshot_s": [round(seconds, 2) for seconds in ours],
        "promise_s": PROMISE,
        "plain_celery_s": celerys and round(celerys, 2),
        "watched_s": WATCHED,
        "visibility_timeout_s": VISIBILITY_TIMEOUT,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    show(ours, celerys)
    return 0 if max(ours) <= PROMISE else 1


def show(ours: list[float], celerys: float | None) -> None:
    runs = ", ".join(f"{seconds:.1f}" for seconds in ours)
    plain = (
        f"not within {WATCHED:.0f} s; by its visibility timeout, after {VISIBILITY_TIMEOUT:,} s"
        if celerys is None
        else f"{celerys:.1f} s"
    )
    lease = f"{LEASE.total_seconds():.0f} s"
    sys.stdout.write(
        "| | runs again after |\n|---|---|\n"
        f"| Packshot, lease {lease} | {runs} s (promised: {PROMISE:.0f} s) |\n"
        f"| plain Celery, `acks_late` | {plain} |\n"
    )


def with_packshot(servers: Servers, folder: Path) -> float:
    """Seconds from the kill to the second attempt, with the lease that workers have."""
    with tempfile.TemporaryDirectory(dir=folder) as own, scene_on(servers, Path(own)) as scene:
        victim = scene.worker(steps=200, step_seconds=0.05, lease=LEASE)
        job = scene.submit("kill me in the middle")
        scene.eventually_running(job.id, steps_done=2)
        scene.worker(steps=4, lease=LEASE)
        victim.signal(signal.SIGKILL)
        killed = monotonic()
        eventually(lambda: scene.client.status(job.id).attempt == 2, within=timedelta(minutes=2))
        return monotonic() - killed


def with_celery(server: RedisServer, folder: Path) -> float | None:
    """The same with two plain workers; ``None`` if the task did not begin again."""
    client = redis.Redis.from_url(server.url)
    client.flushall()
    environment = child_environment({"CELERY_BROKER_URL": server.url})
    with plain_worker(environment, folder / "one.log") as victim:
        edit.app.conf.update(broker_url=server.url)
        edit.delay()
        eventually(lambda: starts(client) == 1, within=READY)
        with plain_worker(environment, folder / "two.log"):
            os.killpg(victim.pid, signal.SIGKILL)  # its children too: the machine is gone
            killed = time()
            return began_again(client, killed)


def began_again(client: redis.Redis, killed: float) -> float | None:
    deadline, never = monotonic() + WATCHED, Event()
    while monotonic() < deadline:
        if starts(client) > 1:
            latest: Any = client.lindex(STARTS, -1)
            return float(latest) - killed
        never.wait(0.2)
    return None


def starts(client: redis.Redis) -> int:
    length: Any = client.llen(STARTS)
    return int(length)


@contextmanager
def plain_worker(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``celery worker``, ready; in a process group of its own."""
    command = ["-m", "celery", "--app", "tests.chaos.plain_app", "worker"]
    options = ["--loglevel", "INFO", "--concurrency", "1", "--hostname", f"{log.stem}@%h"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command, *options],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        eventually(lambda: b" ready." in log.read_bytes(), within=READY)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
