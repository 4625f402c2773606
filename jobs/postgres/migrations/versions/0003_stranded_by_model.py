"""An index for the jobs of a queue whose workers have left, by model too.

Without it, each tick of another model's worker reads all that wait for a profile of that name.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEX = """
DROP INDEX job_stranded;
CREATE INDEX job_stranded ON job (queue, model, profile) WHERE state = 'queued';
"""


def upgrade() -> None:
    op.execute(INDEX)


def downgrade() -> None:
    """A ledger is never unmade; restore a backup instead."""
    raise NotImplementedError("restore a backup of the ledger instead")
