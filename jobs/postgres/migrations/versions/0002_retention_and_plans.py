"""Retention, and indexes that keep every tick short whatever waits.

Jobs that back off leave the line of those that are due: thousands of them at its head would be
looked at by every claim.  The audit may be deleted by retention alone, which says so in its own
transaction (``SET LOCAL packshot.retention = 'on'``); with a job go its attempts and its moves.

While it builds the indexes (a second or two for each 300,000 jobs) submits and claims wait.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: Who may start now, and who waits for ``not_before``.
LINES = """
DROP INDEX job_next;
CREATE INDEX job_next ON job (queue, priority, tenant, id)
    WHERE state = 'queued' AND not_before IS NULL;
CREATE INDEX job_waiting ON job (queue, not_before)
    WHERE state = 'queued' AND not_before IS NOT NULL;
CREATE INDEX job_stranded ON job (queue, profile) WHERE state = 'queued';
DROP INDEX job_start_by;
CREATE INDEX job_start_by ON job (start_by)
    WHERE state = 'queued' AND attempt = 0 AND start_by IS NOT NULL;
"""

#: What people watch, and what retention looks for.
QUESTIONS = """
DROP INDEX job_failed;
CREATE INDEX job_by_state ON job (tenant, state, id);
CREATE INDEX job_suspect ON job (tenant, id) WHERE result ->> 'suspect' IS NOT NULL;
-- without which the planner takes nearly every picture for a suspect one
CREATE STATISTICS job_suspicion ON (result ->> 'suspect') FROM job;
CREATE INDEX job_finished ON job (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX job_expires ON job (expires_at)
    WHERE expires_at IS NOT NULL AND result_deleted_at IS NULL;
CREATE INDEX input_used ON input (used_at);
"""

AUDIT = """
CREATE FUNCTION move_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('packshot.retention', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'the audit is deleted by retention alone: see packshot-worker sweep'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER move_is_kept BEFORE DELETE ON move
    FOR EACH ROW EXECUTE FUNCTION move_is_kept();
CREATE TRIGGER move_is_not_truncated BEFORE TRUNCATE ON move
    FOR EACH STATEMENT EXECUTE FUNCTION move_is_append_only();
"""


def upgrade() -> None:
    for statements in (LINES, QUESTIONS, AUDIT):
        op.execute(statements)


def downgrade() -> None:
    """A ledger is never unmade; restore a backup instead."""
    raise NotImplementedError("restore a backup of the ledger instead")
