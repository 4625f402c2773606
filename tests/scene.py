"""A ledger of one's own with its client, and real worker processes that start from any program."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from PIL import Image

from jobs.connect import Services, connect
from jobs.ledger import LEASE
from jobs.model import Job, JobId
from jobs.settings import ProducerSettings
from producer import Client, Edit, Picture
from standalone.settings import child_environment
from tests.services import eventually, fresh_database

#: Of workers in tests that wait until it ends.  In others a busy machine must not end it.
SHORT_LEASE: Final = timedelta(seconds=3)
READY: Final = timedelta(seconds=60)
#: A worker of this checkout.
OURS: Final = (sys.executable, "-m", "worker")


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


@dataclass(kw_only=True)
class Scene:
    services: Services
    client: Client
    folder: Path
    environment: dict[str, str]  #: of the workers
    workers: list[Worker] = field(default_factory=list)

    def worker(
        self, *, steps: int = 4, step_seconds: float = 0.0, lease: timedelta = LEASE
    ) -> Worker:
        """A worker of this checkout that is ready, on a card of its own."""
        settings = {
            "PACKSHOT_LEASE_SECONDS": str(lease.total_seconds()),
            "PACKSHOT_FAKE_FAULTS": "true",
            "PACKSHOT_FAKE_STEPS": str(steps),
            "PACKSHOT_FAKE_STEP_SECONDS": str(step_seconds),
        }
        return self.started(f"cpu:{len(self.workers)}", settings=settings)

    def started(
        self,
        card: str,
        *,
        program: Sequence[str] = OURS,
        settings: Mapping[str, str] | None = None,
    ) -> Worker:
        """A worker that is ready."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*program, "run", "--card", card],
                env=child_environment({**self.environment, **(settings or {})}),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        worker = Worker(process, log)
        self.workers.append(worker)

        def is_ready() -> bool:
            has_ended = process.poll() is not None  # its job may have killed it since
            if b"worker_ready" in log.read_bytes():
                return True
            assert not has_ended, log.read_text(errors="replace")
            return False

        eventually(is_ready, within=READY)
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
SceneT = TypeVar("SceneT", bound=Scene)


@contextmanager
def opened(
    servers: Mapping[str, str], folder: Path, kind: Callable[..., SceneT]
) -> Iterator[SceneT]:
    """A scene with a fresh database on these servers (``PACKSHOT_…``: their URLs)."""
    with fresh_database(servers["PACKSHOT_DATABASE_URL"]) as database_url:
        environment = {
            **servers,
            "PACKSHOT_DATABASE_URL": database_url,
            "PACKSHOT_MODEL": "fake",
            "PACKSHOT_ENGINE": "fake",
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
        scene = kind(services=services, client=client, folder=folder, environment=environment)
        try:
            yield scene
        finally:
            for worker in scene.workers:
                worker.end()
            client.close()
            services.close()
