"""Between the upload and the announcement a worker looks at its lease once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jobs.model import ArtifactKey
from jobs.states import JobState
from jobs.testing import MemoryArtifacts
from tests.unit.worker.bench import LEASE, OTHER, Bench
from worker.attempt.outcomes import Verdict


def nothing() -> None:
    """Until a test knows what is to happen."""


@dataclass
class Meanwhile(MemoryArtifacts):
    """A bucket in which something happens while a picture is uploaded."""

    happens: Callable[[], None] = field(default=nothing)

    def __post_init__(self) -> None:
        super().__init__()

    def put(self, key: ArtifactKey, data: bytes, *, media_type: str) -> None:
        super().put(key, data, media_type=media_type)
        self.happens()


def test_an_order_that_comes_during_the_upload_is_obeyed() -> None:
    def cancel() -> None:
        bench.ledger.cancel(lease.job.id, who="caller")
        bench.keeper.renew()

    bucket = Meanwhile()
    bench = Bench(artifacts=bucket)
    lease = bench.lease()
    bucket.happens = cancel

    verdict = bench.run(lease)

    assert verdict is Verdict.CANCELLED
    assert (bench.job(lease).state, bench.job(lease).result) == (JobState.CANCELLED, None)


def test_a_lease_lost_during_the_upload_announces_nothing_and_asks_nobody() -> None:
    def lose() -> None:
        bench.ledger.hand_back(lease, why="somebody else's")
        bench.ledger.claim(lease.job.id, OTHER, lease=LEASE)
        bench.keeper.renew()

    bucket = Meanwhile()
    bench = Bench(artifacts=bucket)
    lease = bench.lease()
    bucket.happens = lose

    verdict = bench.run(lease)

    assert verdict is Verdict.LOST
    assert "complete" not in bench.books.calls
    assert bench.job(lease).holder == OTHER.holder
