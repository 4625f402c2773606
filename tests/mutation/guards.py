"""The guards that the promises stand on, and how each is taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ATTEMPTS: Final = "jobs/postgres/attempts.py"
COMPLETIONS: Final = "jobs/postgres/completions.py"
WINDOW: Final = "jobs/postgres/window.py"
SCHEMA: Final = "jobs/postgres/migrations/versions/0001_first_schema.py"
RECONCILER: Final = "jobs/reconciler.py"
RETENTION: Final = "jobs/postgres/retention.py"
RUNNER: Final = "worker/runner.py"
LEDGER_TESTS: Final = "tests/conformance/test_ledgers.py::TestPostgresLedger"
COMPLETION_TESTS: Final = "tests/integration/jobs/test_postgres_completions.py"
SCHEMA_TESTS: Final = "tests/integration/jobs/test_postgres.py"
STALE_PLANS: Final = (
    "tests/integration/jobs/test_plans_of_stale_statistics.py"
    "::test_a_queue_that_has_just_filled_is_not_read"
)
RACES: Final = "tests/integration/jobs/test_postgres_races.py"
SWEEP_TESTS: Final = "tests/integration/jobs/test_sweep.py"
RECONCILER_TESTS: Final = "tests/unit/jobs/test_reconciler.py"
RUNNER_TESTS: Final = "tests/unit/worker/test_runner.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """``text`` stands once in ``file``; the mutant has ``instead``."""

    file: str
    text: str
    instead: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """``test``: a node of pytest's that must turn red when the guard is gone.

    Several edits are one guard that stands in several places, each enough by itself.
    """

    name: str
    edits: Sequence[Edit]
    test: str

    @property
    def where(self) -> str:
        return ", ".join(dict.fromkeys(edit.file for edit in self.edits))


def guard(name: str, file: str, text: str, instead: str, test: str) -> Guard:
    return Guard(name=name, edits=(Edit(file=file, text=text, instead=instead),), test=test)


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

KEYS: Final = (
    guard(
        "one job for each key, in the schema",
        SCHEMA,
        "CREATE UNIQUE INDEX job_one_per_key",
        "CREATE INDEX job_one_per_key",
        f"{LEDGER_TESTS}::test_twenty_submits_of_one_key_at_once_make_one_job",
    ),
    guard(
        "a key is refused to another request",
        "jobs/postgres/submit.py",
        "if one.fingerprint != item.fingerprint:",
        "if one.fingerprint is None:",
        f"{LEDGER_TESTS}::test_a_key_with_another_request_is_refused",
    ),
    guard(
        "submissions take keys in one order",
        "jobs/postgres/submit.py",
        "rows = sorted((_row(one, item) for one, item in wanted.items()), key=place)",
        "rows = [_row(one, item) for one, item in wanted.items()]",
        f"{RACES}::test_batches_with_the_same_keys_in_another_order_do_not_deadlock",
    ),
)

RECORD: Final = (
    guard(
        "an announced result never changes, in the schema",
        SCHEMA,
        "AND (NEW.result IS DISTINCT FROM OLD.result OR NEW.attempt <> OLD.attempt)",
        "AND false",
        f"{SCHEMA_TESTS}::test_nonsense_cannot_be_stored",
    ),
    guard(
        "only legal moves, in the schema",
        SCHEMA,
        "IF OLD.state <> NEW.state AND",
        "IF false AND",
        f"{SCHEMA_TESTS}::test_the_schema_allows_the_moves_of_python_and_no_others",
    ),
    guard(
        "the fence never falls, in the schema",
        SCHEMA,
        "IF NEW.attempt < OLD.attempt THEN",
        "IF false THEN",
        f"{SCHEMA_TESTS}::test_an_attempt_never_falls",
    ),
    guard(
        "a result only on success, in the schema",
        SCHEMA,
        "CHECK ((state = 'succeeded') = (result IS NOT NULL))",
        "CHECK (true)",
        f"{SCHEMA_TESTS}::test_nonsense_cannot_be_stored",
    ),
    guard(
        "the audit is only added to, in the schema",
        SCHEMA,
        "CREATE TRIGGER move_is_append_only BEFORE UPDATE ON move\n"
        "    FOR EACH ROW EXECUTE FUNCTION move_is_append_only();\n",
        "",
        f"{SCHEMA_TESTS}::test_the_audit_cannot_be_rewritten",
    ),
)

DISPATCH: Final = (
    guard(
        "one dispatcher at a time fills a window",
        WINDOW,
        "if not connection.execute(mine).scalar_one():",
        "if connection.execute(mine).scalar_one() is None:",
        f"{RACES}::test_two_that_count_the_same_window_do_not_both_fill_it",
    ),
    guard(
        "a window has a size",
        WINDOW,
        "room = size - connection.execute(standing).scalar_one()",
        "room = size",
        f"{LEDGER_TESTS}::test_a_window_never_holds_more_than_its_size",
    ),
    guard(
        "old messages take the room of new ones",
        RECONCILER,
        "return most - self.dispatcher.length(queue)",
        "return most",
        f"{RECONCILER_TESTS}::test_messages_of_jobs_that_workers_took_by_themselves_do_not_pile_up",
    ),
    guard(
        "one at a time sends a queue's messages",
        "jobs/celery_dispatch.py",
        "mine = bool(lock.acquire(blocking=False))",
        "mine = True",
        "tests/conformance/test_dispatchers.py::TestCeleryDispatcher"
        "::test_one_at_a_time_has_the_turn_of_a_queue",
    ),
    guard(
        "only a message that is provably gone is repeated",
        RECONCILER,
        "gone = standing - self.dispatcher.waiting(queue)",
        "gone = standing",
        f"{RECONCILER_TESTS}::test_a_message_that_waits_in_the_broker_is_not_repeated",
    ),
)

WORKER: Final = (
    guard(
        "the lease is looked at before a result is announced",
        RUNNER,
        "suspect=suspect)\n        held.check()\n",
        "suspect=suspect)\n",
        "tests/unit/worker/test_last_look.py::test_an_order_that_comes_during_the_upload_is_obeyed",
    ),
    guard(
        "the lease is looked at at each step",
        "worker/held.py",
        "        self.steps_done, self.steps_total = done, total\n        self.check()\n",
        "        self.steps_done, self.steps_total = done, total\n",
        "tests/unit/worker/test_runner_orders.py::test_a_cancel_is_obeyed_within_a_step",
    ),
    guard(
        "a broken card takes no other job",
        RUNNER,
        "        if self.card.is_broken:\n",
        "        if False:\n",
        f"{RUNNER_TESTS}::test_the_next_job_is_kept_from_a_broken_card_and_handed_back_uncounted",
    ),
)

#: Retention and replay.
KEPT: Final = (
    Guard(
        name="nobody counts on an input whose object is being deleted",
        edits=(
            Edit(
                file=RETENTION,
                text=".where(is_doomed()).limit(limit).with_for_update(skip_locked=True)",
                instead=".where(is_doomed()).limit(limit)",
            ),
            Edit(
                file=RETENTION,
                text="                _forget(connection, doomed)\n",
                instead="",
            ),
        ),
        test=f"{SWEEP_TESTS}::test_an_input_that_a_submit_counts_on_is_there_whatever_a_sweep_does",
    ),
    guard(
        "nor on one over which a sweep was killed",
        "jobs/postgres/inputs.py",
        ".where(these, ~is_doomed())",
        ".where(these)",
        "tests/conformance/test_retentions.py::TestPostgresRetention"
        "::test_a_sweep_that_is_killed_among_the_objects_leaves_none_that_is_counted_on",
    ),
    guard(
        "an input that is being touched is not swept",
        RETENTION,
        ".limit(limit).with_for_update(of=input_, skip_locked=True)",
        ".limit(limit)",
        f"{SWEEP_TESTS}::test_an_input_that_a_submit_has_just_touched_is_not_swept",
    ),
    guard(
        "an input that a job needs is kept",
        RETENTION,
        ".where(input_.c.used_at < func.now() - keep, ~is_needed)",
        ".where(input_.c.used_at < func.now() - keep)",
        "tests/conformance/test_retentions.py::TestPostgresRetention"
        "::test_an_input_that_a_job_still_needs_is_kept",
    ),
    guard(
        "a result is withdrawn before its object goes",
        "jobs/sweep.py",
        "jobs = self.retention.withdraw_results(self.policy.keep_jobs, limit=size)",
        "jobs = self.retention.due_results(self.policy.keep_jobs, limit=size)",
        "tests/unit/jobs/test_sweep.py::test_nothing_is_deleted_that_is_announced_still",
    ),
    guard(
        "the audit is deleted by retention alone, in the schema",
        "jobs/postgres/migrations/versions/0002_retention_and_plans.py",
        "CREATE TRIGGER move_is_kept BEFORE DELETE ON move\n"
        "    FOR EACH ROW EXECUTE FUNCTION move_is_kept();\n",
        "",
        f"{SWEEP_TESTS}::test_the_audit_is_deleted_by_retention_alone",
    ),
    guard(
        "a job is replayed once",
        "jobs/postgres/replay.py",
        ".with_for_update()",
        "",
        f"{LEDGER_TESTS}::test_ten_replays_at_once_make_one_job",
    ),
    guard(
        "a replay takes the key over",
        "jobs/postgres/replay.py",
        ".values(superseded=True)",
        ".values(superseded=False)",
        f"{LEDGER_TESTS}::test_a_chosen_key_leads_to_the_replay",
    ),
    guard(
        "a message's job is not taken before another's turn",
        ATTEMPTS,
        "CLAIM_NAMED: Final = _claiming(is_among(locked_next(THIS)))",
        "CLAIM_NAMED: Final = CLAIM",
        f"{LEDGER_TESTS}::test_messages_that_stand_make_nobody_wait",
    ),
    guard(
        "who was served last goes last",
        "jobs/postgres/fair.py",
        "    if facts.served is not None:\n",
        "    if False:\n",
        f"{LEDGER_TESTS}::test_messages_that_stand_do_not_hold_their_tenant_back",
    ),
    guard(
        "jobs that back off are not in the way",
        "jobs/postgres/fair.py",
        "return and_(state_is(JobState.QUEUED), job.c.not_before.is_(None))",
        "return state_is(JobState.QUEUED)",
        "tests/integration/jobs/test_plans.py::test_a_long_queue_is_not_read[claim_next]",
    ),
)

#: Whatever the statistics say, a claim's cost does not grow with the queue.
PLANS: Final = (
    guard(
        "a job of the line is looked at by its key",
        "jobs/postgres/fair.py",
        "        .where(job.c.id == line.c.id)\n        .limit(1)\n",
        "        .where(job.c.id == line.c.id)\n",
        f"{STALE_PLANS}[take_window]",
    ),
    guard(
        "a claimed row is found by its key",
        ATTEMPTS,
        ".where(*wanted, state_still_is(JobState.QUEUED))",
        ".where(*wanted, state_is(JobState.QUEUED))",
        f"{STALE_PLANS}[claim_some]",
    ),
)

GUARDS: Final = (*FENCES, *CLAIMS, *BUDGET, *KEYS, *RECORD, *DISPATCH, *KEPT, *WORKER, *PLANS)
