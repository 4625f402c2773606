"""Who may write to a job, who may claim one, and how often it may fail."""

from __future__ import annotations

from typing import Final

from tests.mutation.guards.files import (
    ATTEMPTS,
    LEDGER_TESTS,
    RACES,
    RECONCILER,
    RECONCILER_TESTS,
    SCHEMA,
    SCHEMA_TESTS,
    WINDOW,
)
from tests.mutation.guards.nouns import Edit, Guard, guard

COMPLETIONS: Final = "jobs/postgres/completions.py"
COMPLETION_TESTS: Final = "tests/integration/jobs/test_postgres_completions.py"


def _unfenced(move: str, first: str, test: str) -> Guard:
    """The write of one move, without the attempt's number in its ``WHERE``."""
    return guard(
        f"the fence of {move}",
        ATTEMPTS,
        f"    statement = _held(lease).values(\n        {first}",
        "    statement = update(job).where(job.c.id == lease.job.id,"
        f" state_is(JobState.RUNNING)).values(\n        {first}",
        f"{LEDGER_TESTS}::{test}",
    )


STALE: Final = "test_a_stale_attempt_cannot_write"

FENCES: Final = (
    guard(
        "the fence of complete",
        COMPLETIONS,
        "    fenced(THIS, OUR_ATTEMPT),\n",
        "    job.update().where(job.c.id == THIS, state_is(JobState.RUNNING)),\n",
        f"{LEDGER_TESTS}::{STALE}[complete]",
    ),
    guard(
        "the fence of completions in one commit",
        COMPLETIONS,
        "fenced(told.c.id, told.c.attempt)",
        "fenced(told.c.id, job.c.attempt)",
        f"{COMPLETION_TESTS}::test_of_completions_in_one_commit_a_stale_one_is_refused_alone",
    ),
    guard(
        "completions in one commit wait for no row",
        COMPLETIONS,
        "key_share=True, skip_locked=True",
        "key_share=True",
        f"{COMPLETION_TESTS}::test_a_row_that_another_holds_keeps_no_other_completion",
    ),
    guard(
        "what only one of them is refused for, the others are not",
        "jobs/postgres/together.py",
        "        except Exception:  # noqa: BLE001 - each is told its own\n            return\n",
        "        except ZeroDivisionError:\n            return\n",
        f"{COMPLETION_TESTS}::test_one_that_the_schema_refuses_hurts_no_other",
    ),
    _unfenced("fail", "**ended_badly(failure.failure_class),", f"{STALE}[fail]"),
    _unfenced("hand_back", "state=case((asked", f"{STALE}[hand_back]"),
    _unfenced("confirm_cancel", "state=JobState.CANCELLED,", f"{STALE}[confirm_cancel]"),
    guard(
        "the fence of renew",
        ATTEMPTS,
        "            job.c.attempt == held.c.attempt,\n",
        "",
        f"{LEDGER_TESTS}::test_a_stale_attempt_is_told_that_it_lost",
    ),
    guard(
        "a lease is renewed by its holder alone",
        ATTEMPTS,
        "            job.c.worker_id == worker_id,\n",
        "",
        f"{LEDGER_TESTS}::test_nobody_renews_the_lease_of_another",
    ),
    guard(
        "an attempt ends once",
        ATTEMPTS,
        "        state_is(JobState.RUNNING),\n        job.c.attempt == attempt,\n",
        "        job.c.attempt == attempt,\n",
        f"{LEDGER_TESTS}::test_an_attempt_ends_once",
    ),
    guard(
        "the fence rises with each claim",
        ATTEMPTS,
        "attempt=job.c.attempt + 1,",
        "attempt=func.greatest(job.c.attempt, 1),",
        f"{LEDGER_TESTS}::{STALE}[complete]",
    ),
    guard(
        "each attempt has an object of its own",
        "jobs/model.py",
        "{job.id}/{lease.attempt}.{job",
        "{job.id}/1.{job",
        "tests/unit/jobs/test_artifact_keys.py::test_each_attempt_writes_an_object_of_its_own",
    ),
)

CLAIMS: Final = (
    Guard(
        name="only a queued job is claimed",
        edits=(
            Edit(file=ATTEMPTS, text="        state_is(JobState.QUEUED),\n", instead=""),
            Edit(
                file=ATTEMPTS,
                text=".where(*wanted, state_still_is(JobState.QUEUED))",
                instead=".where(*wanted)",
            ),
        ),
        test=f"{LEDGER_TESTS}::test_five_claims_at_once_give_one_lease",
    ),
    guard(
        "a job that is being claimed is passed over",
        "jobs/postgres/fair.py",
        ".with_for_update(of=job, skip_locked=True)",
        ".with_for_update(of=job)",
        f"{RACES}::test_a_job_that_is_being_claimed_is_passed_over",
    ),
    guard(
        "a retry waits for its time",
        ATTEMPTS,
        "        or_(job.c.not_before.is_(None), job.c.not_before <= func.now()),\n",
        "",
        f"{LEDGER_TESTS}::test_a_retry_waits_as_long_as_it_was_told",
    ),
    guard(
        "a lease that is being renewed does not expire",
        WINDOW,
        "job.c.lease_expires_at < func.now())\n        .limit(limit)\n"
        "        .with_for_update(skip_locked=True)",
        "job.c.lease_expires_at < func.now())\n        .limit(limit)",
        f"{RACES}::test_a_lease_that_is_being_renewed_does_not_expire",
    ),
    guard(
        "only a lease that ran out is ended",
        WINDOW,
        "state_is(JobState.RUNNING), job.c.lease_expires_at < func.now()",
        "state_is(JobState.RUNNING)",
        f"{LEDGER_TESTS}::test_renewing_keeps_a_lease",
    ),
    guard(
        "after an outage of the ledger, holders renew first",
        RECONCILER,
        "if self.clock() >= self._spare_until:",
        "if self.clock() >= 0:",
        f"{RECONCILER_TESTS}::test_after_an_outage_of_the_ledger_its_holders_may_renew_first",
    ),
)

BUDGET: Final = (
    guard(
        "failures are bounded",
        ATTEMPTS,
        "again = and_(literal(counts), job.c.failures + 1 < job.c.max_failures)",
        "again = literal(counts)",
        f"{LEDGER_TESTS}::test_the_budget_bounds_the_failures",
    ),
    guard(
        "failures are bounded, in the schema",
        SCHEMA,
        "CHECK (state <> 'queued' OR failures < max_failures)",
        "CHECK (true)",
        f"{SCHEMA_TESTS}::test_a_job_cannot_be_queued_beyond_its_budget",
    ),
    guard(
        "a loss counts",
        ATTEMPTS,
        "job.c.failures + (1 if counts else 0)",
        "job.c.failures + (1 if counts and failure_class is not FailureClass.LOST else 0)",
        f"{LEDGER_TESTS}::test_losses_count_like_failures",
    ),
    guard(
        "no attempt follows a cancel",
        ATTEMPTS,
        "        (job.c.cancel_requested_at.is_not(None), JobState.CANCELLED.value),\n"
        "        (again,",
        "        (again,",
        f"{LEDGER_TESTS}::test_an_attempt_that_ends_after_a_cancel_is_not_followed_by_another",
    ),
)
