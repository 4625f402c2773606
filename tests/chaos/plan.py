"""What goes wrong, and when: decided before the run, by the seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PRODUCERS: Final = "producers"
SERVERS: Final = ("redis", "postgres", "s3")


class Kind(StrEnum):
    """A fault, by the words of the table."""

    KILL_WORKER = "worker killed"
    STOP_WORKER = "worker stopped past its lease"
    DEPLOY = "worker told to drain"
    CUT_LEDGER = "link to Postgres cut"
    SILENT_LEDGER = "link to Postgres half open"
    CUT_REDIS = "link to Redis cut"
    SILENT_REDIS = "link to Redis half open"
    CUT_BUCKET = "link to S3 cut"
    SILENT_BUCKET = "link to S3 half open"
    SLOW_BUCKET = "link to S3 slow"
    KILL_REDIS = "Redis killed"
    FREEZE_REDIS = "Redis frozen"
    EMPTY_REDIS = "Redis emptied"
    RESTART_LEDGER = "Postgres restarted"
    KILL_LEDGER = "Postgres killed"
    END_BACKENDS = "Postgres' backends ended"
    KILL_BUCKET = "S3 killed"
    BUCKET_500 = "S3 answers 500"
    BUCKET_503 = "S3 answers 503"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """``at`` and ``lasts``: seconds; ``target``: a worker, the producers, or a server."""

    at: float
    kind: Kind
    target: str
    lasts: float

    @property
    def ends(self) -> float:
        return self.at + self.lasts


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One run.  Times in seconds; ``jobs`` are distinct idempotency keys."""

    seed: int
    seconds: float
    lease: float
    jobs: int
    workers: int = 3
    producers: int = 3
    quiesce: float = 90.0

    @property
    def worker_names(self) -> tuple[str, ...]:
        return tuple(f"worker-{number}" for number in range(self.workers))

    @property
    def pace(self) -> float:
        """Between the beginnings of two faults: seconds on average."""
        return max(1.5, self.lease / 3)


OF_WORKERS: Final = (Kind.KILL_WORKER, Kind.STOP_WORKER, Kind.DEPLOY)
OF_LINKS: Final = (
    Kind.CUT_LEDGER,
    Kind.SILENT_LEDGER,
    Kind.CUT_REDIS,
    Kind.SILENT_REDIS,
    Kind.CUT_BUCKET,
    Kind.SILENT_BUCKET,
    Kind.SLOW_BUCKET,
)
OF_SERVERS: Final = {
    Kind.KILL_REDIS: "redis",
    Kind.FREEZE_REDIS: "redis",
    Kind.EMPTY_REDIS: "redis",
    Kind.RESTART_LEDGER: "postgres",
    Kind.KILL_LEDGER: "postgres",
    Kind.END_BACKENDS: "postgres",
    Kind.KILL_BUCKET: "s3",
    Kind.BUCKET_500: "s3",
    Kind.BUCKET_503: "s3",
}
MOMENTARY: Final = frozenset({Kind.EMPTY_REDIS, Kind.END_BACKENDS})
#: Each of so many faults is a worker's: what a fleet sees most, and what costs leases.
OFTEN: Final = 3
FIRST: Final = 1.0  # seconds of peace before the first fault
REST: Final = 1.0  # seconds of peace between two faults of one target


def schedule(plan: Plan) -> tuple[Fault, ...]:
    """The same plan gives the same faults; in a minute, each kind at least once.

    No target has two faults at once; different targets may.
    """
    chance = random.Random(plan.seed)
    due = list(Kind)
    free_at = dict.fromkeys((*plan.worker_names, PRODUCERS, *SERVERS), 0.0)
    faults: list[Fault] = []
    now = FIRST
    while now < plan.seconds:
        kinds = OF_WORKERS if len(faults) % OFTEN == 0 else due or list(Kind)
        fault = _next(plan, chance, now, kinds, free_at)
        if fault is not None and fault.ends < plan.seconds:
            faults.append(fault)
            free_at[fault.target] = fault.ends + REST
            if fault.kind in due:
                due.remove(fault.kind)
        now += plan.pace * chance.uniform(0.5, 1.5)
    return tuple(faults)


def _next(
    plan: Plan,
    chance: random.Random,
    now: float,
    kinds: Sequence[Kind],
    free_at: dict[str, float],
) -> Fault | None:
    """The first of these kinds, in a random order, that has a target free."""
    order = chance.sample(list(kinds), len(kinds))
    lasts, which = chance.uniform(0.0, 1.0), chance.random()
    for kind in order:
        targets = [one for one in _targets(plan, kind) if free_at[one] <= now]
        if targets:
            target = targets[int(which * len(targets))]
            return Fault(at=now, kind=kind, target=target, lasts=_seconds(plan, kind, lasts))
    return None


def _targets(plan: Plan, kind: Kind) -> tuple[str, ...]:
    if kind in OF_SERVERS:
        return (OF_SERVERS[kind],)
    return plan.worker_names if kind in OF_WORKERS else (*plan.worker_names, PRODUCERS)


def _seconds(plan: Plan, kind: Kind, share: float) -> float:
    """Links and stopped workers stay away for longer than the lease."""
    if kind in MOMENTARY:
        return 0.0
    if kind is Kind.STOP_WORKER or kind in OF_LINKS:
        return plan.lease * (1.2 + 0.8 * share)
    return 0.3 + 1.7 * share
