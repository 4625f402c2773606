"""Alembic's entry: runs the revisions on the connection that ``migrate`` hands over."""

from __future__ import annotations

from alembic import context

from jobs.postgres.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="packshot_version",
)
with context.begin_transaction():
    context.run_migrations()
