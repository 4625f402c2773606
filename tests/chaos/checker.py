"""Judges a run: what goes in must come out, once, and stay as it was.

After Jepsen's ``total-queue``: nothing acknowledged is lost, nothing takes effect twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

from tests.chaos.evidence import Audited, Evidence, Row
from tests.chaos.recovery import recoveries

FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
LEGAL: Final = frozenset(
    {
        ("queued", "running"),
        ("queued", "failed"),
        ("queued", "cancelled"),
        *(("running", end) for end in ("queued", *FINAL)),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    kind: str  #: lost, doubled, changed or stuck
    what: str  #: a job, a key or an object
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    counts: Mapping[str, Any]
    violations: Sequence[Violation]


def judge(evidence: Evidence) -> Verdict:
    violations = [*_lost(evidence), *_doubled(evidence), *_changed(evidence), *_stuck(evidence)]
    return Verdict(counts=_counts(evidence, violations), violations=violations)


def _lost(evidence: Evidence) -> Iterator[Violation]:
    """Acknowledged and not there; or announced, and the picture is not there."""
    jobs = {row.id: row for row in evidence.jobs}
    for job in sorted(_acknowledged(evidence)):
        if job not in jobs:
            yield Violation(kind="lost", what=job, why="acknowledged, and not in the ledger")
    for row in evidence.jobs:
        if row.result is not None and row.result["key"] not in evidence.objects:
            yield Violation(kind="lost", what=row.id, why="announced, and not in the bucket")
    for seen in evidence.seen:
        if seen["sha256"] == "missing":
            yield Violation(kind="lost", what=seen["job"], why="announced before it was stored")


def _doubled(evidence: Evidence) -> Iterator[Violation]:
    """Two jobs of one key, two ends of one job, two attempts at once, one key for two requests."""
    yield from _doubled_keys(evidence)
    moves: dict[str, list[Audited]] = defaultdict(list)
    for move in evidence.moves:
        moves[move.job].append(move)
    for row in evidence.jobs:
        why = _broken(row, moves[row.id])
        if why:
            yield Violation(kind="doubled", what=row.id, why=why)
    for promise in evidence.promises:
        if promise["do"] == "conflict" and promise["accepted"]:
            yield Violation(kind="doubled", what="a key", why="taken for another request")


def _doubled_keys(evidence: Evidence) -> Iterator[Violation]:
    standing = Counter((row.tenant, row.key) for row in evidence.jobs if not row.superseded)
    for (_, key), count in standing.items():
        if count > 1:
            yield Violation(kind="doubled", what=key, why=f"{count} jobs stand under it")
    superseded = {row.id for row in evidence.jobs if row.superseded}
    told: dict[str, set[str]] = defaultdict(set)
    for promise in evidence.promises:
        if promise["do"] == "ack" and promise["job"] not in superseded:
            told[promise["key"]].add(promise["job"])
    for key, jobs in told.items():
        if len(jobs) > 1:
            yield Violation(kind="doubled", what=key, why=f"acknowledged as {len(jobs)} jobs")


def _broken(row: Row, moves: Sequence[Audited]) -> str | None:
    """What is wrong with the audit of a job: it must tell one life, from its submission on."""
    if not moves or (moves[0].from_state, moves[0].to_state) != (None, "queued"):
        return "the audit does not begin with its submission"
    if sum(move.to_state in FINAL for move in moves) > 1:
        return "it ended more than once"
    for before, after in pairwise(moves):
        if after.from_state != before.to_state or (after.from_state, after.to_state) not in LEGAL:
            return f"{after.from_state} → {after.to_state} after {before.to_state}"
        if after.attempt - before.attempt != (after.to_state == "running"):
            return f"attempt {after.attempt} after {before.attempt}"
    if (moves[-1].to_state, moves[-1].attempt) != (row.state, row.attempt):
        return f"the audit ends with {moves[-1].to_state}, the row says {row.state}"
    return None


def _changed(evidence: Evidence) -> Iterator[Violation]:
    """An announcement is the row's end and the picture's bytes; both stay for good."""
    jobs = {row.id: row for row in evidence.jobs}
    for seen in evidence.seen:
        row = jobs.get(seen["job"])
        now = (row.state, row.attempt, row.result) if row else ("gone", 0, None)
        if (seen["state"], seen["attempt"], seen["result"]) != now:
            yield Violation(kind="changed", what=seen["job"], why=f"{seen['state']}, then {now[0]}")
        elif seen["sha256"] not in {None, "missing"} and seen["sha256"] != _announced(row):
            yield Violation(kind="changed", what=seen["job"], why="other bytes than announced")
    for promise in evidence.promises:
        if promise["do"] == "cancel" and promise["saw"] in FINAL:
            row = jobs.get(promise["job"])
            if row is not None and row.state != promise["saw"]:
                why = f"{promise['saw']}, then {row.state}"
                yield Violation(kind="changed", what=row.id, why=why)
    for row in evidence.jobs:
        stored = evidence.objects.get(row.result["key"]) if row.result else None
        if stored is not None and stored != _announced(row):
            yield Violation(kind="changed", what=row.id, why="the bucket holds other bytes")


def _announced(row: Row | None) -> str | None:
    return row.result["sha256"] if row is not None and row.result is not None else None


def _stuck(evidence: Evidence) -> Iterator[Violation]:
    for row in evidence.jobs:
        if row.state not in FINAL:
            yield Violation(kind="stuck", what=row.id, why=f"{row.state}, attempt {row.attempt}")


def _acknowledged(evidence: Evidence) -> set[str]:
    return {promise["job"] for promise in evidence.promises if promise["do"] == "ack"}


def _counts(evidence: Evidence, violations: Sequence[Violation]) -> dict[str, Any]:
    did = Counter(promise["do"] for promise in evidence.promises)
    states = Counter(row.state for row in evidence.jobs)
    found = Counter(violation.kind for violation in violations)
    announced = {row.result["key"] for row in evidence.jobs if row.result is not None}
    failed = Counter(
        f"{row.failure_class}: {row.error_code}" for row in evidence.jobs if row.state == "failed"
    )
    recovered = sorted(recoveries(evidence), key=lambda one: -one.seconds)
    at_once = [one for one in recovered if not one.behind_others]
    submitted = {promise["what"] for promise in evidence.promises if promise["do"] == "submit"}
    return {
        "submitted": len(submitted),
        "acknowledged": len(_acknowledged(evidence)),
        "succeeded": states["succeeded"],
        "failed": dict(sorted(failed.items())),
        "cancelled": states["cancelled"],
        **{kind: found[kind] for kind in ("lost", "doubled", "changed", "stuck")},
        "orphaned_objects": len(evidence.objects.keys() - announced),
        "zombie_writes_refused": sum(map(_is_refused_write, evidence.told)),
        "longest_recovery_s": max((one.seconds for one in at_once), default=0.0),
        "longest_redis_list": evidence.longest_redis_list,
        "longest_recovery_with_postgres_up_s": max(
            (one.seconds for one in at_once if not one.ledger_was_away), default=0.0
        ),
        "recoveries": [asdict(one) for one in recovered],
        "attempts": sum(row.attempt for row in evidence.jobs),
        "zombies_told_to_stop": sum(map(_is_stopped_zombie, evidence.told)),
        "submits": did["submit"],
        "orders_refused": did["refused"],
        "conflicts_refused": did["conflict"],
        "cancels": did["cancel"],
        "messages_repeated": sum(promise.get("times", 0) for promise in evidence.promises),
        "announcements_observed": len(evidence.seen),
        "worker_exits": {str(code): n for code, n in Counter(evidence.worker_exits).items()},
        "faults": dict(sorted(Counter(fault["kind"] for fault in evidence.faults).items())),
    }


def _is_refused_write(line: Mapping[str, Any]) -> bool:
    """The ledger's own answer to an attempt that was no longer the job's."""
    return line.get("verdict") == "lost" and "no longer holds" in str(line.get("why"))


def _is_stopped_zombie(line: Mapping[str, Any]) -> bool:
    """Told by a renewal, before it had anything to write."""
    return line.get("verdict") == "lost" and not _is_refused_write(line)
