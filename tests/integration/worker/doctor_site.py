"""Where the doctor looks in its tests, and what it finds there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.connect import Services, connect
from worker.doctor.findings import Row, Site, Verdict
from worker.doctor.table import look
from worker.settings import WorkerSettings

FINE, WARNING, PROBLEM, SKIPPED = Verdict


def settings_of(where: dict[str, str], **options: object) -> WorkerSettings:
    return WorkerSettings.model_validate({**where, "engine": "fake", **options})


@contextmanager
def site_of(where: dict[str, str], **options: object) -> Iterator[Site]:
    settings = settings_of(where, **options)
    connected: Services = connect(settings)
    try:
        yield Site(settings=settings, services=connected)
    finally:
        connected.close()


def rows_of(where: dict[str, str], **options: object) -> dict[str, Row]:
    with site_of(where, **options) as site:
        return {row.check: row for row in look(site)}


def verdicts(rows: dict[str, Row]) -> dict[str, Verdict]:
    return {name: row.finding.verdict for name, row in rows.items()}
