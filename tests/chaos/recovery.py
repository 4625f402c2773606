"""How long a job was without a worker after its own had been killed or stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobs.reconciler import REUNION
from tests.chaos.evidence import Audited, Evidence
from tests.chaos.plan import Kind

FAULTS: Final = frozenset({Kind.KILL_WORKER, Kind.STOP_WORKER})
OUTAGES: Final = frozenset({Kind.KILL_LEDGER, Kind.RESTART_LEDGER})


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """``seconds`` from the fault to the job's next attempt, or to its end."""

    job: str
    fault: str
    target: str
    seconds: float
    ledger_was_away: bool  #: Postgres was down meanwhile, or had been a moment before
    #: A repeated message had brought it before its turn, for which it had to wait now.
    behind_others: bool


def recoveries(evidence: Evidence) -> list[Recovery]:
    """Of each job that a fault cost its lease, in no order."""
    moves: dict[str, list[Audited]] = defaultdict(list)
    for move in evidence.moves:
        moves[move.job].append(move)
    claims = [move for move in evidence.moves if move.to_state == "running"]
    return [found for one in moves.values() for found in _of_one(one, claims, evidence.faults)]


def _of_one(
    moves: Sequence[Audited], claims: Sequence[Audited], faults: Sequence[Mapping[str, Any]]
) -> Iterator[Recovery]:
    """An attempt that its fault did not cost its lease needed no recovery."""
    for index, lost in enumerate(moves):
        if lost.why != "lease expired":
            continue
        claimed = moves[index - 1]
        again = moves[index + 1] if lost.to_state == "queued" and moves[index + 1 :] else lost
        for fault in faults:
            hit = fault["kind"] in FAULTS and claimed.who.endswith(f"/{fault['pid']}")
            if hit and claimed.at <= fault["at"] <= lost.at:
                yield Recovery(
                    job=lost.job,
                    fault=fault["kind"],
                    target=fault["target"],
                    seconds=round(again.at - fault["at"], 2),
                    ledger_was_away=_was_away(fault["at"], again.at, faults),
                    behind_others=_behind_others(lost, again, claims),
                )


def _was_away(start: float, end: float, faults: Sequence[Mapping[str, Any]]) -> bool:
    """Between these moments, or when workers were still given time to renew what they held."""
    return any(
        fault["kind"] in OUTAGES
        and fault["at"] < end
        and fault["at"] + fault["lasts"] + REUNION > start
        for fault in faults
    )


def _behind_others(lost: Audited, again: Audited, claims: Sequence[Audited]) -> bool:
    """Older jobs were begun while it waited: ids are in the order of submission."""
    return any(one.job < lost.job and lost.at < one.at < again.at for one in claims)
