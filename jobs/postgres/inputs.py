"""Which inputs somebody may count on: those that are recorded, and not doomed by a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, Text, and_, any_, delete, func, literal, update
from sqlalchemy.dialects.postgresql import ARRAY

from jobs.postgres.tables import input_

#: The last use of an input that a sweep has its hands on, or had when it was killed: its object
#: may be gone.
DOOMED: Final = datetime(1970, 1, 1, tzinfo=UTC)


def is_doomed() -> ColumnElement[bool]:
    return input_.c.used_at <= DOOMED


def touch(connection: Connection, tenant: str, digests: Sequence[str]) -> set[str]:
    """Which of these are stored, once a sweep that has its hands on them is through.

    In this order: one that is doomed while we wait for it is not updated, and then forgotten,
    so that the sweep leaves alone what is uploaded again.
    """
    these = and_(
        input_.c.tenant == tenant,
        input_.c.sha256 == any_(literal(list(digests), ARRAY(Text()))),
    )
    used = update(input_).where(these, ~is_doomed()).values(used_at=func.now())
    found = set(connection.execute(used.returning(input_.c.sha256)).scalars())
    if len(found) < len(digests):
        connection.execute(delete(input_).where(these, is_doomed()))
    return found
