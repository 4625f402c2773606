"""A caller at the command line, over a client on the fakes, and a worker moved by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner, Result
from PIL import Image

from jobs import model
from jobs.errors import FailureClass
from jobs.ids import new_job_id
from jobs.model import Failure, Holding, Job, JobId, Lease, ServedModel, WorkerInfo
from jobs.testing import MemoryArtifacts, MemoryLedger, RecordingDispatcher
from producer.bootstrap import Initialised
from producer.cli.app import App
from producer.cli.commands import cli
from producer.client import Client

WORKER: Final = WorkerInfo(
    id=new_job_id(),
    holder="host/cpu:0/1",
    card="cpu:0",
    model=ServedModel(
        name=model.DEFAULT_MODEL,
        revision="r1",
        profile_group="default",
        profiles=("quality", "fast"),
    ),
)

FAILURE: Final = Failure(
    failure_class=FailureClass.PERMANENT, code="bad_picture", message="will not decode"
)


def photo(colour: str = "white", *, size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


BLACK: Final = model.Suspicion(code="black", message="no part is brighter than 3 of 255")


class WorkedLedger(MemoryLedger):
    """``work`` is called whenever somebody asks for several jobs, as who waits for them does."""

    work: Callable[[], object] = staticmethod(lambda: None)

    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        found = super().get_many(job_ids)
        self.work()
        return found


@dataclass(kw_only=True)
class Shop:
    ledger: WorkedLedger = field(default_factory=WorkedLedger)
    artifacts: MemoryArtifacts = field(default_factory=MemoryArtifacts)
    dispatcher: RecordingDispatcher = field(default_factory=RecordingDispatcher)

    def client(self) -> Client:
        return Client(ledger=self.ledger, artifacts=self.artifacts, dispatcher=self.dispatcher)

    def run(self, *args: object, stdin: bytes = b"", **app: Any) -> Result:  # noqa: ANN401
        """The command line, in this process."""
        made = Initialised(
            revision="0001", ledger="host:5432/packshot", bucket="host:9000/packshot"
        )
        obj = App(**{"connect": self.client, "init": lambda: made, "pause": self._pause, **app})
        words = [str(arg) for arg in args]
        return CliRunner().invoke(cli, words, input=stdin, obj=obj, prog_name="packshot")

    def json(self, *args: object, stdin: bytes = b"", code: int = 0) -> list[Any]:
        """What ``--json`` answers, line by line."""
        result = self.run(*args, "--json", stdin=stdin)
        assert result.exit_code == code, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def submitted(self, *names: str, **metadata: str) -> list[str]:
        """The ids of jobs that somebody has submitted before."""
        options = [f"--metadata={name}={value}" for name, value in metadata.items()]
        return [
            self.json("submit", "-", "-i", name, "--batch", "before", *options, stdin=photo())[0][
                "id"
            ]
            for name in names
        ]

    @property
    def jobs(self) -> list[Job]:
        """All there are, oldest first."""
        return self.client().list()[::-1]

    # ---- the worker

    def claim(self) -> Lease | None:
        return self.ledger.claim_next(WORKER)

    def step(self, lease: Lease, done: int, total: int) -> None:
        one = Holding(
            job_id=lease.job.id, attempt=lease.attempt, steps_done=done, steps_total=total
        )
        self.ledger.renew(WORKER.id, [one])

    def complete_next(self, suspect: model.Suspicion | None = None) -> Job | None:
        lease = self.claim()
        if lease is None:
            return None
        data = picture_of(lease.job)
        key = model.output_key(lease)
        self.artifacts.put(key, data, media_type="image/png")
        made = model.Result(
            key=key,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            media_type="image/png",
            width=64,
            height=48,
            suspect=suspect,
        )
        return self.ledger.complete(lease, made, timings={})

    def fail_next(self) -> Job | None:
        lease = self.claim()
        if lease is None:
            return None
        return self.ledger.fail(lease, FAILURE)

    def _pause(self, _seconds: float) -> None:
        """Whoever watches waits for the worker's next move."""
        self.ledger.work()


def turns(*moves: Callable[[], object]) -> Callable[[], object]:
    """One move a call, then none."""
    left = list(moves)
    return lambda: left.pop(0)() if left else None


def picture_of(job: Job) -> bytes:
    """What the fake worker makes of a job: bytes that no other job has."""
    return f"picture of {job.id}".encode()


def folder_of(place: Path, *names: str) -> Path:
    """A folder with a picture of another colour under each name."""
    for number, name in enumerate(names):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(f"rgb({number * 10}, 0, 0)"))
    return place


def left_in(folder: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return sorted(path.name for path in folder.iterdir())
    return []
