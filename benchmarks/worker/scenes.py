"""Runs of simulated cards, and what is read from them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from typing import Final
from uuid import UUID

import numpy as np
from PIL import Image
from sqlalchemy import select

from benchmarks.queue.sides import module, running
from benchmarks.system import NOBODY, prepared
from benchmarks.worker.card import wait
from jobs.ledger import JobFilter
from jobs.model import DEFAULT_TENANT, OutputFormat, input_key
from jobs.postgres.tables import is_alive, worker
from jobs.states import JobState
from producer.edits import Edit
from producer.inputs import Picture

PIXELS: Final = (1152, 864)  # one megapixel
READY: Final = 60.0  # seconds that a worker may take to start
WARM: Final = 3  # jobs in which a worker learns what is usual
_NUMBERS: Final = count()


def photograph() -> bytes:
    """A JPEG as a camera's: soft shapes and a little grain."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(soft.resize(PIXELS, Image.Resampling.BICUBIC), dtype=np.float32)
    grain = rng.normal(0, 3, smooth.shape)
    file = BytesIO()
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


@dataclass(frozen=True, kw_only=True)
class Card:
    """What one worker's record says."""

    held: Sequence[tuple[float, float]]
    cpu_s: float
    peak_mb: float

    @classmethod
    def read(cls, record: Path) -> Card:
        return cls(**json.loads(record.read_text()))

    @property
    def jobs(self) -> int:
        return len(self.held)

    def busy_share(self) -> float:
        """Of the time between a first few jobs and the last one."""
        held = self.held[WARM:]
        return sum(end - began for began, end in held) / (held[-1][1] - held[0][0])

    def gap_s(self) -> float:
        """From one job to the next, the median."""
        held = self.held[WARM:]
        return median(later[0] - one[1] for one, later in pairwise(held))

    def per_hour(self) -> float:
        """Jobs, at the pace of the same time."""
        held = self.held[WARM:]
        return 3_600 * len(held) / (held[-1][1] - held[0][0])


class Scene:
    """A client, and workers that are started and stopped with their records kept."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.services, self.client = prepared(environment)
        self._photograph = Picture(name="photograph.jpg", data=photograph())

    def submit(self, jobs: int, output_format: OutputFormat = OutputFormat.PNG) -> None:
        self.client.submit_many([self.edit(output_format) for _ in range(jobs)])

    def edit(self, output_format: OutputFormat) -> Edit:
        return Edit(
            pictures=[self._photograph],
            instruction=f"do nothing {next(_NUMBERS)}",
            model="fake",
            format=output_format,
        )

    def finished(self) -> int:
        where = JobFilter(tenant=DEFAULT_TENANT)
        return self.client.ledger.counts(where).get(JobState.SUCCEEDED, 0)

    def source(self) -> str:
        """The key of the photograph, which some submit has uploaded."""
        (job,) = self.client.list(limit=1)
        return input_key(DEFAULT_TENANT, job.request.pictures[0])

    def work(
        self, command: list[str], seconds: float, act: Callable[[], None], *, cards: int = 1
    ) -> list[Card]:
        """``act`` while ``cards`` workers run; what they wrote down at their end."""
        with tempfile.TemporaryDirectory() as folder:
            records = [Path(folder) / str(number) for number in range(cards)]
            with ExitStack() as stack:
                for number, record in enumerate(records):
                    more = {
                        "BENCH_CARD_SECONDS": str(seconds),
                        "BENCH_RECORD": str(record),
                        "PACKSHOT_CARD": f"cpu:{number}",
                    }
                    stack.enter_context(running(command, {**self.environment, **more}))
                act()
            return [Card.read(record) for record in records]

    def until_finished(self, wanted: int) -> None:
        """Raises ``SystemExit`` if nothing has finished for a while."""
        done, since = -1, time.monotonic()
        while (now := self.finished()) < wanted:
            if now > done:
                done, since = now, time.monotonic()
            elif time.monotonic() - since > READY:
                raise SystemExit(f"no job finished for {READY:.0f} s; {wanted - now} are left")
            wait(0.2)

    def until_alive(self, workers: int) -> list[UUID]:
        """The newest so many workers, once they are there."""
        deadline = time.monotonic() + READY
        while len(alive := self._alive()) < workers:
            if time.monotonic() > deadline:
                raise SystemExit(f"{workers} workers did not start within {READY:.0f} s")
            wait(0.2)
        return alive

    def _alive(self) -> list[UUID]:
        mine = select(worker.c.id).where(is_alive(), worker.c.holder != NOBODY)
        with self.services.database.connect() as connection:
            return list(connection.execute(mine).scalars())


def ours() -> list[str]:
    return module("benchmarks.worker.ours")
