"""What the ledger keeps: keys, the record of what happened, inputs and results."""

from __future__ import annotations

from typing import Final

from tests.mutation.guards.files import LEDGER_TESTS, RACES, SCHEMA, SCHEMA_TESTS
from tests.mutation.guards.nouns import Edit, Guard, guard

RETENTION: Final = "jobs/postgres/retention.py"
SWEEP_TESTS: Final = "tests/integration/jobs/test_sweep.py"

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
)
