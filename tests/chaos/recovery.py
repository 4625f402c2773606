"""How long a job was without a worker after its own had been killed or stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.evidence import Audited, Evidence
from tests.chaos.plan import Kind

FAULTS = frozenset({Kind.KILL_WORKER, Kind.STOP_WORKER})


def recoveries(evidence: Evidence) -> list[float]:
    """Seconds from the fault to the next attempt, or to the job's end, for each job it hit."""
    moves: dict[str, list[Audited]] = defaultdict(list)
    for move in evidence.moves:
        moves[move.job].append(move)
    return [seconds for one in moves.values() for seconds in _of_one(one, evidence)]


def _of_one(moves: list[Audited], evidence: Evidence) -> Iterator[float]:
    """An attempt that its fault did not cost its lease needed no recovery."""
    for index, lost in enumerate(moves):
        if lost.why != "lease expired":
            continue
        claimed = moves[index - 1]
        again = moves[index + 1] if lost.to_state == "queued" and moves[index + 1 :] else lost
        for fault in evidence.faults:
            hit = fault["kind"] in FAULTS and claimed.who.endswith(f"/{fault['pid']}")
            if hit and claimed.at <= fault["at"] <= lost.at:
                yield again.at - fault["at"]
