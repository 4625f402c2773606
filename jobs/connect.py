"""From settings to ledger, bucket and dispatcher: the composition both sides share."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.celery_dispatch import CeleryDispatcher
from jobs.postgres.connection import Database
from jobs.postgres.ledger import PostgresLedger
from jobs.s3 import S3Store
from jobs.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Services:
    """Nothing is connected before its first use."""

    database: Database
    ledger: PostgresLedger
    artifacts: S3Store
    dispatcher: CeleryDispatcher

    def init(self) -> str:
        """Make the schema and the bucket; return the schema's revision."""
        from jobs.postgres.migrate import migrate  # noqa: PLC0415 - Alembic takes long to import

        revision = migrate(self.database)
        self.artifacts.make_bucket()
        return revision

    def check(self) -> None:
        """Raise ``SchemaMismatch`` or ``Unavailable`` unless ledger and schema are there."""
        from jobs.postgres.migrate import check_schema  # noqa: PLC0415 - as above

        check_schema(self.database)

    def close(self) -> None:
        self.dispatcher.close()
        self.database.close()


def connect(settings: Settings) -> Services:
    """Raises ``BadSettings`` for a URL that cannot be read."""
    database = Database(settings.database_url.get_secret_value())
    return Services(
        database=database,
        ledger=PostgresLedger(database),
        artifacts=S3Store.from_url(settings.s3_url.get_secret_value()),
        dispatcher=CeleryDispatcher(settings.redis_url.get_secret_value()),
    )
