"""A downstream service that calls the API, and a worker moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final
from uuid import UUID

from fastapi.testclient import TestClient
from PIL import Image

from jobs.errors import FailureClass
from jobs.ids import new_job_id
from jobs.model import (
    DEFAULT_MODEL,
    ArtifactKey,
    Failure,
    Holding,
    Job,
    JobId,
    Lease,
    Result,
    ServedModel,
    Suspicion,
    WorkerInfo,
)
from jobs.testing import MemoryLedger

WORKER: Final = WorkerInfo(
    id=new_job_id(),
    holder="host/cpu:0/1",
    card="cpu:0",
    model=ServedModel(
        name=DEFAULT_MODEL, revision="r1", profile_group="default", profiles=("quality", "fast")
    ),
)


def photo(colour: str = "white", *, picture_format: str = "PNG") -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, picture_format)
    return file.getvalue()


@dataclass(frozen=True, kw_only=True)
class Hand:
    """A worker's moves, made by the test."""

    ledger: MemoryLedger

    def claim(self, job_id: str) -> Lease:
        lease = self.ledger.claim(JobId(UUID(job_id)), WORKER)
        assert lease is not None
        return lease

    def step(self, lease: Lease, done: int, total: int) -> None:
        held = Holding(
            job_id=lease.job.id, attempt=lease.attempt, steps_done=done, steps_total=total
        )
        self.ledger.renew(WORKER.id, [held])

    def complete(self, job_id: str, *, suspect: Suspicion | None = None) -> Job:
        lease = self.claim(job_id)
        result = Result(
            key=ArtifactKey(f"default/outputs/{job_id}/{lease.attempt}.png"),
            sha256="a" * 64,
            bytes=1_000,
            media_type="image/png",
            width=64,
            height=48,
            suspect=suspect,
        )
        return self.ledger.complete(lease, result, timings={})

    def fail(self, job_id: str) -> Job:
        failure = Failure(failure_class=FailureClass.PERMANENT, code="oops", message="no luck")
        return self.ledger.fail(self.claim(job_id), failure)


@dataclass(frozen=True, kw_only=True)
class Downstream:
    """A service that calls the API."""

    http: TestClient

    def post(
        self,
        *,
        pictures: Sequence[tuple[str, tuple[str, bytes]]] | None = None,
        key: str | None = None,
        **fields: str,
    ) -> Any:  # noqa: ANN401 - the test client's response
        if pictures is None:
            pictures = [("image", ("mug.png", photo()))]
        headers = {} if key is None else {"Idempotency-Key": key}
        form = {"instruction": "make it red", **fields}
        return self.http.post("/v1/edits", files=list(pictures), data=form, headers=headers)

    def submit(self, **options: Any) -> str:  # noqa: ANN401 - those of ``post``
        """The id of a new job."""
        response = self.post(**options)
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def get(self, path: str, **headers: str) -> Any:  # noqa: ANN401 - the test client's response
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.get(path, headers=named)
