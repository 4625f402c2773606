"""The ledgers there are, each against the whole suite."""

from __future__ import annotations

import pytest

from jobs.errors import FailureClass
from jobs.model import Failure, JobId
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.postgres.tables import attempt
from jobs.states import JobState
from jobs.testing import AttemptRecord, MemoryLedger
from tests.conformance.ledger import LedgerConformance, ReadAttempts
from tests.conformance.scenes import Clock, LetPass
from tests.services import let_pass_in


class TestMemoryLedger(LedgerConformance):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def ledger(self, clock: Clock) -> MemoryLedger:
        return MemoryLedger(clock)

    @pytest.fixture
    def let_pass(self, clock: Clock) -> LetPass:
        return clock.advance

    @pytest.fixture
    def read_attempts(self, ledger: MemoryLedger) -> ReadAttempts:
        return ledger.attempts


class TestPostgresLedger(LedgerConformance):
    @pytest.fixture
    def let_pass(self, database: Database) -> LetPass:
        return lambda span: let_pass_in(database, span)

    @pytest.fixture
    def read_attempts(self, ledger: PostgresLedger) -> ReadAttempts:
        return lambda job_id: _attempts(ledger.database, job_id)


def _attempts(database: Database, job_id: JobId) -> list[AttemptRecord]:
    statement = attempt.select().where(attempt.c.job_id == job_id).order_by(attempt.c.number)
    with database.connect() as connection:
        rows = connection.execute(statement).mappings().all()
    return [
        AttemptRecord(
            number=row["number"],
            holder=row["holder"],
            card=row["card"],
            model_revision=row["model_revision"],
            release=row["release"],
            outcome=JobState(row["outcome"]) if row["outcome"] else None,
            failure=Failure(
                failure_class=FailureClass(row["failure_class"]),
                code=row["error_code"],
                message=row["error"],
            )
            if row["failure_class"]
            else None,
            timings=row["timings"],
        )
        for row in rows
    ]
