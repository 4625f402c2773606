"""Real worker processes with the fake engine, and the client that watches them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import redis
from PIL import Image

from jobs.connect import Services, connect
from jobs.model import Job, JobId
from jobs.settings import ProducerSettings
from producer import Client, Edit, Picture
from standalone.servers import Servers
from standalone.settings import child_environment
from tests.services import eventually, fresh_database

LEASE = timedelta(seconds=3)


@dataclass
class Worker:
    """One process; what it says goes to ``log``."""

    process: subprocess.Popen[bytes]
    log: Path

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@dataclass
class Scene:
    servers: Servers
    services: Services
    client: Client
    folder: Path
    environment: dict[str, str]
    workers: list[Worker] = field(default_factory=list)

    def worker(
        self, *, steps: int = 4, step_seconds: float = 0.0, lease: timedelta = LEASE
    ) -> Worker:
        """A worker that is ready."""
        number = len(self.workers)
        log = self.folder / f"worker-{number}.log"
        settings = {
            **self.environment,
            "PACKSHOT_ENGINE": "fake",
            "PACKSHOT_LEASE_SECONDS": str(lease.total_seconds()),
            "PACKSHOT_FAKE_FAULTS": "true",
            "PACKSHOT_FAKE_STEPS": str(steps),
            "PACKSHOT_FAKE_STEP_SECONDS": str(step_seconds),
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "run", "--card", f"cpu:{number}"],
                env=child_environment(settings),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        ready = b"worker_ready"
        eventually(lambda: ready in log.read_bytes(), within=timedelta(seconds=60))
        return worker

    def edit(self, instruction: str) -> Edit:
        return Edit(pictures=[PICTURE], instruction=instruction, wait_for_model=True)

    def submit(self, instruction: str) -> Job:
        """Accepted even if no worker has shown itself yet."""
        return self.client.submit(self.edit(instruction))

    def eventually_running(self, job_id: JobId, *, steps_done: int = 1) -> Job:
        """The job once its attempt is on a card."""
        eventually(lambda: self.client.status(job_id).steps_done >= steps_done)
        return self.client.status(job_id)

    def outputs(self, job: Job) -> list[str]:
        """Keys in the bucket that attempts of this job wrote."""
        return sorted(self.services.artifacts.keys(f"{job.tenant}/outputs/{job.id}/"))


def _picture() -> Picture:
    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((96, 64)).save(buffer, "PNG")
    return Picture(name="gradient.png", data=buffer.getvalue())


PICTURE = _picture()


@contextmanager
def scene_on(servers: Servers, folder: Path) -> Iterator[Scene]:
    # A worker that was killed before it could acknowledge leaves its message there for a day.
    redis.Redis.from_url(servers.redis.url).flushall()
    with fresh_database(servers.postgres.url) as database_url:
        environment = {
            **servers.environment(),
            "PACKSHOT_DATABASE_URL": database_url,
            "PACKSHOT_MODEL": "fake",
        }
        env_file = folder / "packshot.env"
        env_file.write_text("\n".join(f"{name}={value}" for name, value in environment.items()))
        services = connect(ProducerSettings.load(env_file))
        services.init()
        client = Client(
            ledger=services.ledger,
            artifacts=services.artifacts,
            dispatcher=services.dispatcher,
            model="fake",
        )
        scene = Scene(servers, services, client, folder, environment)
        try:
            yield scene
        finally:
            for worker in scene.workers:
                worker.end()
            client.close()
            services.close()
