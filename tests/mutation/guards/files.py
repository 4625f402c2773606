"""Where guards and their tests stand that more than one subject has."""

from __future__ import annotations

from typing import Final

ATTEMPTS: Final = "jobs/postgres/attempts.py"
WINDOW: Final = "jobs/postgres/window.py"
RECONCILER: Final = "jobs/reconciler.py"
SCHEMA: Final = "jobs/postgres/migrations/versions/0001_first_schema.py"

LEDGER_TESTS: Final = "tests/conformance/test_ledgers.py::TestPostgresLedger"
RACES: Final = "tests/integration/jobs/test_postgres_races.py"
SCHEMA_TESTS: Final = "tests/integration/jobs/test_postgres.py"
RECONCILER_TESTS: Final = "tests/unit/jobs/test_reconciler.py"
