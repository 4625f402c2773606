"""The retentions there are, each against the whole suite."""

from __future__ import annotations

import pytest

from jobs.postgres.connection import Database
from jobs.postgres.retention import PostgresRetention
from jobs.testing import MemoryLedger
from tests.conformance.retention import RetentionConformance
from tests.conformance.scenes import Clock, LetPass
from tests.services import let_pass_in


class TestMemoryRetention(RetentionConformance):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def ledger(self, clock: Clock) -> MemoryLedger:
        return MemoryLedger(clock)

    @pytest.fixture
    def retention(self, ledger: MemoryLedger) -> MemoryLedger:
        return ledger

    @pytest.fixture
    def let_pass(self, clock: Clock) -> LetPass:
        return clock.advance


class TestPostgresRetention(RetentionConformance):
    @pytest.fixture
    def retention(self, database: Database) -> PostgresRetention:
        return PostgresRetention(database)

    @pytest.fixture
    def let_pass(self, database: Database) -> LetPass:
        return lambda span: let_pass_in(database, span)
