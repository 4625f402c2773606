"""An index for what a queue's jobs have lately taken, from which starts are estimated."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEX = """
CREATE INDEX job_recent ON job (queue, finished_at) WHERE state = 'succeeded';
"""


def upgrade() -> None:
    op.execute(INDEX)


def downgrade() -> None:
    """A ledger is never unmade; restore a backup instead."""
    raise NotImplementedError("restore a backup of the ledger instead")
