"""The checker finds what it is there for: violations planted in a real ledger and a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobs.errors import FailureClass, LeaseLost
from jobs.model import ArtifactKey, Job, Lease, Result, output_key
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.migrate import migrate
from jobs.testing import MemoryArtifacts
from tests.chaos import table
from tests.chaos.checker import Verdict, judge
from tests.chaos.evidence import Evidence, read_bucket, read_journals, read_ledger
from tests.chaos.journal import Journal
from tests.chaos.observer import Observer
from tests.chaos.plan import Kind
from tests.conformance.scenes import (
    OTHER,
    WORKER,
    claimed,
    failure,
    new,
    submitted,
    superseded_lease,
)
from tests.services import empty, fresh_database

PICTURE = b"a picture"


@dataclass
class World:
    """A run that went well: a picture made at the second try, one at the first, a dead letter,
    and a job withdrawn.  Everything was acknowledged and observed."""

    database: Database
    url: str
    artifacts: MemoryArtifacts
    observer: Observer
    seen: Path
    promises: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        ledger = self.ledger
        ledger.register(WORKER)
        ledger.register(OTHER)
        self.retried = self.acknowledged("retried")
        ledger.hand_back(claimed(ledger, self.retried), why="drain")
        self.done(self.retried)
        self.plain = self.done(self.acknowledged("plain"))
        self.failed = self.acknowledged("failed")
        ledger.fail(claimed(ledger, self.failed), failure(FailureClass.PERMANENT))
        self.cancelled = self.acknowledged("cancelled")
        ledger.cancel(self.cancelled.id, who="a test")
        self.promises.append({"do": "cancel", "job": str(self.cancelled.id), "saw": "cancelled"})
        self.observer.round()

    @property
    def ledger(self) -> PostgresLedger:
        return PostgresLedger(self.database)

    def acknowledged(self, what: str) -> Job:
        job = submitted(self.ledger, new(what, idempotency_key=what))
        self.promises += [
            {"do": "submit", "what": what},
            {"do": "ack", "what": what, "job": str(job.id), "key": what},
        ]
        return job

    def done(self, job: Job) -> Job:
        lease = claimed(self.ledger, job)
        self.artifacts.put(output_key(lease), PICTURE, media_type="image/png")
        return self.ledger.complete(lease, picture(lease), timings={})

    def sql(self, statement: str, *values: object) -> None:
        """As a fault of the program's might: past every trigger."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(statement.encode(), list(values))

    def verdict(self) -> Verdict:
        jobs, moves = read_ledger(self.url)
        return judge(
            Evidence(
                jobs=jobs,
                moves=moves,
                objects=read_bucket(self.artifacts),
                promises=self.promises,
                seen=read_journals([self.seen]),
                told=self.told,
                faults=self.faults,
                longest_redis_list=7,
            )
        )


def picture(lease: Lease) -> Result:
    return Result(
        key=output_key(lease),
        sha256=hashlib.sha256(PICTURE).hexdigest(),
        bytes=len(PICTURE),
        media_type="image/png",
        width=32,
        height=32,
    )


@pytest.fixture(scope="module")
def url(postgres_url: str) -> Iterator[str]:
    """A ledger of this module's own: it will be mistreated."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def ledgers(url: str) -> Iterator[Database]:
    database = Database(url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def world(ledgers: Database, url: str, tmp_path: Path) -> Iterator[World]:
    empty(ledgers)
    artifacts, seen = MemoryArtifacts(), tmp_path / "seen.jsonl"
    with closing(Journal(seen)) as journal:
        yield World(ledgers, url, artifacts, Observer(url, artifacts, journal), seen)


def test_a_run_that_went_well_has_no_violations(world: World) -> None:
    world.artifacts.put(ArtifactKey("default/outputs/x/1.png"), b"orphan", media_type="image/png")

    verdict = world.verdict()

    assert verdict.violations == []
    counted = {name: verdict.counts[name] for name in table.SHOWN}
    assert counted == {
        "submitted": 4,
        "acknowledged": 4,
        "succeeded": 2,
        "failed": {"permanent: oops": 1},
        "cancelled": 1,
        "lost": 0,
        "doubled": 0,
        "changed": 0,
        "stuck": 0,
        "orphaned_objects": 1,
        "zombie_writes_refused": 0,
        "longest_recovery_s": 0.0,
        "longest_recovery_with_postgres_up_s": 0.0,
        "longest_redis_list": 7,
    }


def key(job: Job) -> ArtifactKey:
    assert job.result is not None
    return job.result.key


def a_row_is_gone(world: World) -> None:
    world.sql("DELETE FROM job WHERE id = %s", world.failed.id)


def a_job_was_never_recorded(world: World) -> None:
    world.promises.append({"do": "ack", "what": "x", "key": "x", "job": "never"})


def a_picture_is_gone(world: World) -> None:
    world.artifacts.delete([key(world.plain)])


def a_picture_came_after_its_announcement(world: World) -> None:
    late = world.acknowledged("late")
    lease = claimed(world.ledger, late)
    world.ledger.complete(lease, picture(lease), timings={})
    world.observer.round()
    world.artifacts.put(output_key(lease), PICTURE, media_type="image/png")


def a_key_has_two_jobs(world: World) -> None:
    world.sql("DROP INDEX job_one_per_key")
    columns = "tenant, state, queue, priority, model, profile, instruction, pictures, seed"
    columns += ", parameters, idempotency_key, key_derived, fingerprint, attempt, failures"
    columns += ", max_failures, finished_at, failure_class, moved_by, moved_why"
    world.sql(
        f"INSERT INTO job (id, {columns}) SELECT gen_random_uuid(), {columns} FROM job"
        " WHERE id = %s",
        world.failed.id,
    )


def a_key_was_acknowledged_twice(world: World) -> None:
    ack = {"do": "ack", "what": "plain", "key": "plain", "job": str(world.failed.id)}
    world.promises.append(ack)


def a_key_was_given_to_another_request(world: World) -> None:
    world.promises.append({"do": "conflict", "accepted": True})


def audit(world: World, job: Job, before: str, after: str, attempt: int) -> None:
    world.sql(
        "INSERT INTO move (job_id, who, from_state, to_state, attempt, why)"
        " VALUES (%s, 'a zombie', %s, %s, %s, 'planted')",
        job.id,
        before,
        after,
        attempt,
    )


def a_job_ended_twice(world: World) -> None:
    audit(world, world.plain, "running", "succeeded", 1)


def a_job_was_claimed_while_it_ran(world: World) -> None:
    job = world.acknowledged("contended")
    claimed(world.ledger, job)
    audit(world, job, "running", "running", 2)
    world.sql("UPDATE job SET attempt = 2 WHERE id = %s", job.id)


def a_move_was_not_audited(world: World) -> None:
    world.sql("DELETE FROM move WHERE job_id = %s AND to_state = 'running'", world.plain.id)


def a_result_is_another(world: World) -> None:
    world.sql(
        "UPDATE job SET result = jsonb_set(result, '{bytes}', '1') WHERE id = %s", world.plain.id
    )


def an_end_is_another(world: World) -> None:
    world.sql(
        "UPDATE job SET state = 'failed', failure_class = 'lost' WHERE id = %s", world.cancelled.id
    )


def a_picture_has_other_bytes(world: World) -> None:
    world.artifacts.put(key(world.plain), b"another picture", media_type="image/png")


def a_picture_had_other_bytes_for_a_while(world: World) -> None:
    a_picture_has_other_bytes(world)
    world.observer.round()
    world.artifacts.put(key(world.plain), PICTURE, media_type="image/png")


def a_withdrawn_job_ran_after_all(world: World) -> None:
    world.promises.append({"do": "cancel", "job": str(world.plain.id), "saw": "cancelled"})


def a_job_waits_for_ever(world: World) -> None:
    world.acknowledged("forgotten")


def a_job_runs_for_ever(world: World) -> None:
    claimed(world.ledger, world.acknowledged("hung"))


PLANTED: dict[str, list[Callable[[World], None]]] = {
    "lost": [
        a_row_is_gone,
        a_job_was_never_recorded,
        a_picture_is_gone,
        a_picture_came_after_its_announcement,
    ],
    "doubled": [
        a_key_has_two_jobs,
        a_key_was_acknowledged_twice,
        a_key_was_given_to_another_request,
        a_job_ended_twice,
        a_job_was_claimed_while_it_ran,
        a_move_was_not_audited,
    ],
    "changed": [
        a_result_is_another,
        an_end_is_another,
        a_picture_has_other_bytes,
        a_picture_had_other_bytes_for_a_while,
        a_withdrawn_job_ran_after_all,
    ],
    "stuck": [a_job_waits_for_ever, a_job_runs_for_ever],
}


@pytest.mark.parametrize(
    ("kind", "plant"),
    [(kind, plant) for kind, plants in PLANTED.items() for plant in plants],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_the_checker_finds_a_planted_violation(
    world: World, kind: str, plant: Callable[[World], None]
) -> None:
    plant(world)

    verdict = world.verdict()
    world.sql("DELETE FROM job")
    world.sql(
        "CREATE UNIQUE INDEX IF NOT EXISTS job_one_per_key ON job (tenant, idempotency_key)"
        " WHERE NOT superseded"
    )

    assert kind in {violation.kind for violation in verdict.violations}
    assert verdict.counts[kind] > 0
    shown = table.lines(verdict.counts, verdict.violations)
    assert any(line.startswith(f"{kind}: ") for line in shown)


def test_a_key_may_pass_from_a_dead_job_to_the_next(world: World) -> None:
    """As a derived key does; the old acknowledgement is no second job of the key."""
    world.sql("UPDATE job SET superseded = true WHERE id = %s", world.failed.id)
    job = submitted(world.ledger, new("failed", idempotency_key="failed"))
    world.promises.append({"do": "ack", "what": "failed", "key": "failed", "job": str(job.id)})
    world.done(job)

    assert world.verdict().violations == []


def test_a_recovery_lasts_from_the_kill_to_the_next_attempt(world: World) -> None:
    job = world.acknowledged("killed")
    claimed(world.ledger, job)
    world.sql("UPDATE job SET lease_expires_at = now() - interval '1 s' WHERE id = %s", job.id)
    world.ledger.expire()
    world.done(job)
    began, expired, again = [
        move.at for move in read_ledger(world.url)[1] if move.job == str(job.id)
    ][1:4]
    pid = int(WORKER.holder.rpartition("/")[2])
    killed = (began + expired) / 2
    fault = {"at": killed, "kind": Kind.KILL_WORKER.value, "pid": pid, "target": "w", "lasts": 1}
    world.faults.append(fault)

    counts = world.verdict().counts

    assert [one["job"] for one in counts["recoveries"]] == [str(job.id)]
    assert counts["longest_recovery_s"] == round(again - killed, 2)
    assert counts["longest_recovery_with_postgres_up_s"] == counts["longest_recovery_s"]


def test_a_job_that_waits_for_its_turn_again_is_told_apart(world: World) -> None:
    older = world.acknowledged("older")
    job = world.acknowledged("younger, and brought by a repeated message")
    claimed(world.ledger, job)
    world.sql("UPDATE job SET lease_expires_at = now() - interval '1 s' WHERE id = %s", job.id)
    world.ledger.expire()
    world.done(older)
    world.done(job)
    claim = next(one for one in read_ledger(world.url)[1] if one.job == str(job.id) and one.attempt)
    pid = int(WORKER.holder.rpartition("/")[2])
    fault = {"at": claim.at, "kind": Kind.KILL_WORKER.value, "pid": pid, "target": "w", "lasts": 1}
    world.faults.append(fault)

    counts = world.verdict().counts

    assert [one["behind_others"] for one in counts["recoveries"]] == [True]
    assert counts["longest_recovery_s"] == 0.0


def test_a_recovery_beside_an_outage_of_the_ledger_is_told_apart(world: World) -> None:
    test_a_recovery_lasts_from_the_kill_to_the_next_attempt(world)
    outage = {**world.faults[0], "kind": Kind.KILL_LEDGER.value, "pid": 0}
    world.faults.append(outage)

    counts = world.verdict().counts

    assert counts["longest_recovery_s"] > 0
    assert counts["longest_recovery_with_postgres_up_s"] == 0


def test_a_write_that_the_fence_refused_is_told_from_a_zombie_that_was_stopped(
    world: World,
) -> None:
    stale, _ = superseded_lease(world.ledger)
    with pytest.raises(LeaseLost) as refused:
        world.ledger.complete(stale, picture(stale), timings={})
    world.told += [
        {"verdict": "lost", "why": str(refused.value)},
        {"verdict": "lost", "why": "another attempt owns the job"},
        {"verdict": "succeeded"},
    ]

    counts = world.verdict().counts

    assert (counts["zombie_writes_refused"], counts["zombies_told_to_stop"]) == (1, 1)
