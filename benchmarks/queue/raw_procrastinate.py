"""Procrastinate: jobs as rows of Postgres, as ours are, without fencing or object store."""

from __future__ import annotations

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.types import JSONValue

from benchmarks.queue.settings import POSTGRES
from benchmarks.queue.sides import module

app = App(connector=PsycopgConnector(conninfo=POSTGRES))


@app.task(name="nothing")
async def nothing(number: int) -> None:
    """A job that does nothing."""


class RawProcrastinate:
    name = "procrastinate"

    def __init__(self, postgres_url: str) -> None:
        here = App(connector=SyncPsycopgConnector(conninfo=postgres_url))
        here.open()
        here.schema_manager.apply_schema()
        self._task = here.configure_task("nothing", allow_unknown=True)
        self._connection = psycopg.connect(postgres_url, autocommit=True)

    def submit(self, count: int) -> None:
        for number in range(count):
            self._task.defer(number=number)

    def submit_many(self, count: int) -> None:
        jobs: list[dict[str, JSONValue]] = [{"number": number} for number in range(count)]
        self._task.batch_defer(*jobs)

    def worker(self) -> list[str]:
        name = "benchmarks.queue.raw_procrastinate.app"
        return module("procrastinate", "--app", name, "worker", "--concurrency", "8")

    def finished(self) -> int:
        query = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def waiting(self) -> bool:
        query = "SELECT 1 FROM procrastinate_jobs WHERE status = 'todo' LIMIT 1"
        return self._connection.execute(query).fetchone() is not None
