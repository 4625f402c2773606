"""A worker's parts on the fakes that ship, put together by hand and with nothing running."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import repeat
from threading import Event
from typing import Any, Final, cast

from PIL import Image

from jobs.artifacts import ArtifactStore
from jobs.errors import Unavailable
from jobs.ledger import Ledger
from jobs.model import EditRequest, Job, Lease, NewJob, input_key
from jobs.testing import MemoryArtifacts, MemoryLedger
from tests.conformance.scenes import submitted, worker
from worker.attempt.leases import LeaseKeeper
from worker.attempt.outcomes import Verdict
from worker.attempt.runner import Runner
from worker.card.card import Card
from worker.card.gate import Gate
from worker.engine.fake import FAKE_MODEL, FakeEngine, Fault

WORKER: Final = worker(model=FAKE_MODEL)
OTHER: Final = worker("gpu-2", model=FAKE_MODEL)
LEASE: Final = timedelta(minutes=1)
FOREVER: Final = 1_000_000
QUICK: Final = 0.001  # seconds


class Door:
    """Stands before a fake.  While it is shut, calls find nobody."""

    def __init__(self, inside: object) -> None:
        self._inside = inside
        self._shut: dict[str, int] = {}
        self._faults: dict[str, list[Exception]] = {}
        self._delays: dict[str, float] = {}
        self.calls: list[str] = []
        self.refused: list[str] = []

    def delay(self, name: str, seconds: float) -> None:
        self._delays[name] = seconds

    def shut(self, *names: str, times: int = FOREVER) -> None:
        self._shut |= dict.fromkeys(names, times)

    def rig(self, name: str, *errors: Exception) -> None:
        """The next calls raise these, one each."""
        self._faults[name] = list(errors)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever stands behind
            self.calls.append(name)
            if self._shut.get(name, 0) > 0:
                self._shut[name] -= 1
                self.refused.append(name)
                raise Unavailable(f"nobody answers {name}")
            if self._faults.get(name):
                raise self._faults[name].pop(0)
            Event().wait(self._delays.get(name, 0.0))
            return getattr(self._inside, name)(*args, **options)

        return call


def picture(colour: str = "white") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), colour).save(buffer, "PNG")
    return buffer.getvalue()


#: Digest of the picture that a bench's jobs edit.
SOURCE: Final = hashlib.sha256(picture()).hexdigest()


def new(instruction: str = "make it red", **options: Any) -> NewJob:  # noqa: ANN401
    request = EditRequest(pictures=(SOURCE,), instruction=instruction, model=FAKE_MODEL.name)
    return NewJob(request=request, **options)


def no_pause() -> Iterator[float]:
    return repeat(QUICK)


@dataclass
class Bench:
    """``fault`` is called before each step; it may raise, or do anything else."""

    fault: Fault | None = None
    patience: float = 0.0
    card: Card = field(default_factory=Card)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    artifacts: MemoryArtifacts = field(default_factory=MemoryArtifacts)

    def __post_init__(self) -> None:
        self.books = Door(self.ledger)
        self.bucket = Door(self.artifacts)
        self.engine = FakeEngine(fault=self.fault)
        self.gate = Gate(self.card)
        self.keeper = LeaseKeeper(cast("Ledger", self.books), WORKER, lease=LEASE)
        self.runner = Runner(
            ledger=cast("Ledger", self.books),
            artifacts=cast("ArtifactStore", self.bucket),
            engine=self.engine,
            card=self.card,
            keeper=self.keeper,
            patience=self.patience,
            pauses=no_pause,
        )
        self.ledger.register(WORKER)
        self.stored(picture())

    def stored(self, data: bytes) -> str:
        """An input's digest."""
        digest = hashlib.sha256(data).hexdigest()
        self.artifacts.put(input_key("default", digest), data, media_type="image/png")
        return digest

    def lease(self, one: NewJob | None = None) -> Lease:
        """The lease of a fresh attempt; of a new job unless told."""
        lease = self.ledger.claim(submitted(self.ledger, one or new()).id, WORKER, lease=LEASE)
        assert lease is not None
        return lease

    def run(self, lease: Lease) -> Verdict:
        place = self.gate.admit()
        assert place is not None
        with place:
            return self.runner.run(lease, place)

    def job(self, lease: Lease) -> Job:
        return self.ledger.get(lease.job.id)

    def outputs(self) -> list[str]:
        return [key for key in self.artifacts.keys("default/") if "/outputs/" in key]


def raising(error: Exception) -> Bench:
    """A bench whose edits fail at their first step."""

    def fault(_request: EditRequest, _step: int) -> None:
        raise error

    return Bench(fault)
