"""What PostgreSQL itself holds true, whoever writes to it."""

from __future__ import annotations

from functools import partial
from itertools import permutations
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, null, select, text, update
from sqlalchemy.exc import IntegrityError

from jobs.model import Job, NewJob
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.tables import job, metadata
from jobs.states import MOVES, JobState
from jobs.testing.memory_rows import CONSTRAINTS
from tests.conformance.scenes import WORKER, claimed, completed, failed, new, submitted

#: What a row needs in order to be in a state, in the eyes of the constraints.
FITTING: dict[JobState, dict[str, Any]] = {
    JobState.QUEUED: {},
    JobState.RUNNING: {
        "holder": "me",
        "lease_expires_at": func.now(),
        "attempt": job.c.attempt + 1,
    },
    JobState.SUCCEEDED: {"finished_at": func.now(), "result": {"key": "k"}},
    JobState.FAILED: {"finished_at": func.now(), "failure_class": "permanent"},
    JobState.CANCELLED: {"finished_at": func.now()},
}
NOTHING = dict.fromkeys(["holder", "lease_expires_at", "finished_at", "result"], null())


@pytest.fixture(autouse=True)
def offered(ledger: PostgresLedger) -> None:
    ledger.register(WORKER)


def in_state(ledger: PostgresLedger, state: JobState) -> Job:
    if state is JobState.FAILED:
        return failed(ledger)
    found = submitted(ledger)
    if state is JobState.CANCELLED:
        return ledger.cancel(found.id, who="ann")
    if state in {JobState.RUNNING, JobState.SUCCEEDED}:
        lease = claimed(ledger, found)
        found = lease.job if state is JobState.RUNNING else completed(ledger, lease)
    return found


def execute(database: Database, statement: Any) -> Any:  # noqa: ANN401 - rows, or none
    with database.connect() as connection:
        result = connection.execute(statement)
        return result.all() if result.returns_rows else None


def test_the_tables_in_python_are_those_of_the_migrations(database: Database) -> None:
    def ours(_: object, name: str | None, kind: str, *__: object) -> bool:
        return kind in {"table", "column"} and name != "packshot_version"

    with database.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": ours, "compare_type": True}
        )
        differences = compare_metadata(context, metadata)

    assert differences == []


def test_the_fake_has_the_constraints_of_the_schema(database: Database) -> None:
    named = text(
        "SELECT conname FROM pg_constraint"
        " WHERE conrelid = 'job'::regclass AND contype = 'c' AND conname NOT LIKE 'job_%'"
    )

    assert {name for (name,) in execute(database, named)} == {*CONSTRAINTS}


@pytest.mark.parametrize(("before", "after"), [*permutations(JobState, 2)])
def test_the_schema_allows_the_moves_of_python_and_no_others(
    ledger: PostgresLedger, before: JobState, after: JobState
) -> None:
    found = in_state(ledger, before)
    values = {**NOTHING, **FITTING[after]}
    move = update(job).where(job.c.id == found.id).values(state=after.value, **values)

    if after in MOVES[before]:
        execute(ledger.database, move)

        assert ledger.history(found.id)[-1].to_state is after
    else:
        with pytest.raises(IntegrityError, match=f"no move from {before} to {after}"):
            execute(ledger.database, move)

        assert ledger.get(found.id) == found


NONSENSE = {
    "a result that changes": (JobState.SUCCEEDED, {"result": {"key": "other"}}),
    "a result that goes away": (JobState.SUCCEEDED, {"result": null()}),
    "an attempt after the end": (JobState.SUCCEEDED, {"attempt": job.c.attempt + 1}),
    "an attempt without a lease": (JobState.RUNNING, {"lease_expires_at": null()}),
    "an attempt without a holder": (JobState.RUNNING, {"holder": null()}),
    "a result before the end": (JobState.RUNNING, {"result": {"key": "k"}}),
    "an end that is none": (JobState.RUNNING, {"finished_at": func.now()}),
    "a lease without an attempt": (JobState.QUEUED, {"lease_expires_at": func.now()}),
    "more failures than attempts": (JobState.RUNNING, {"failures": 2}),
    "fewer failures than none": (JobState.RUNNING, {"failures": -1}),
    "no budget": (JobState.QUEUED, {"max_failures": 0}),
    "no pictures": (JobState.QUEUED, {"pictures": []}),
    "four pictures": (JobState.QUEUED, {"pictures": ["a"] * 4}),
    "a negative seed": (JobState.QUEUED, {"seed": -1}),
    "an unheard-of class": (JobState.FAILED, {"failure_class": "bad luck"}),
    "a dead letter without a reason": (JobState.FAILED, {"failure_class": null()}),
}


@pytest.mark.parametrize(("state", "values"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_cannot_be_stored(
    ledger: PostgresLedger, state: JobState, values: dict[str, Any]
) -> None:
    found = in_state(ledger, state)

    with pytest.raises(IntegrityError):
        execute(ledger.database, update(job).where(job.c.id == found.id).values(**values))

    assert ledger.get(found.id) == found


def test_a_job_cannot_be_queued_beyond_its_budget(ledger: PostgresLedger) -> None:
    lease = claimed(ledger, submitted(ledger, new(max_failures=1)))
    requeue = update(job).where(job.c.id == lease.job.id)

    with pytest.raises(IntegrityError, match="queued_within_budget"):
        execute(ledger.database, requeue.values(state="queued", failures=1, **NOTHING))


def test_an_attempt_never_falls(ledger: PostgresLedger) -> None:
    found = ledger.hand_back(claimed(ledger), why="drain")

    with pytest.raises(IntegrityError, match="attempt 0 after 1"):
        execute(ledger.database, update(job).where(job.c.id == found.id).values(attempt=0))


def test_a_state_is_one_of_five(ledger: PostgresLedger) -> None:
    found = submitted(ledger)

    with pytest.raises(IntegrityError):
        execute(ledger.database, update(job).where(job.c.id == found.id).values(state="lost"))


def test_two_live_jobs_cannot_have_one_key(ledger: PostgresLedger) -> None:
    first = submitted(ledger, new(idempotency_key="a"))
    submitted(ledger, new(idempotency_key="b"))
    rename = update(job).where(job.c.id == first.id).values(idempotency_key="b")

    with pytest.raises(IntegrityError, match="job_one_per_key"):
        execute(ledger.database, rename)


def test_the_audit_cannot_be_rewritten(ledger: PostgresLedger) -> None:
    submitted(ledger)

    with pytest.raises(IntegrityError, match="append-only"):
        execute(ledger.database, text("UPDATE move SET who = 'nobody'"))


def test_a_person_at_a_prompt_is_in_the_audit_too(ledger: PostgresLedger) -> None:
    found = submitted(ledger)
    execute(
        ledger.database,
        text(
            "UPDATE job SET state = 'cancelled', finished_at = now(),"
            " moved_by = 'ops', moved_why = 'by hand'"
        ),
    )

    last = ledger.history(found.id)[-1]
    assert (last.who, last.why, last.to_state) == ("ops", "by hand", JobState.CANCELLED)


@pytest.mark.parametrize(("digest", "size"), [("A" * 64, 1), ("a" * 63, 1), ("a" * 64, 0)])
def test_an_input_is_named_by_a_digest_and_not_empty(
    ledger: PostgresLedger, digest: str, size: int
) -> None:
    with pytest.raises(IntegrityError):
        ledger.record_input("a", digest, size=size, media_type="image/png")


def test_a_call_that_fails_changes_nothing(ledger: PostgresLedger) -> None:
    unstorable = NewJob(request=submitted(ledger).request)
    object.__setattr__(unstorable, "batch", "NUL: \x00")  # which the noun itself refuses
    before = execute(ledger.database, select(func.count()).select_from(job))
    call = partial(ledger.submit, [new("one"), unstorable, new("two")])

    with pytest.raises(Exception, match="NUL"):
        call()

    assert execute(ledger.database, select(func.count()).select_from(job)) == before
