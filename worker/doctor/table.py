"""The checks, in the order in which a worker meets what they look at."""

from __future__ import annotations

from typing import Final

from jobs.connect import connect
from jobs.errors import BadSettings, JobsError
from worker.doctor import host, services
from worker.doctor.findings import (
    Check,
    Finding,
    Row,
    Site,
    Verdict,
    fine,
    problem,
    skipped,
)
from worker.settings import WorkerSettings

HOST: Final = BadSettings.exit_code

CHECKS: Final = (
    Check(name="Postgres", look=services.postgres_answers),
    Check(name="Postgres version", look=services.postgres_is_new_enough, needs="Postgres"),
    Check(name="Postgres writes", look=services.postgres_takes_writes, needs="Postgres"),
    Check(name="schema", look=services.schema_is_ours, needs="Postgres"),
    Check(name="Postgres clock", look=services.clock_agrees_with_postgres, needs="Postgres"),
    Check(name="Redis", look=services.redis_answers),
    Check(name="Redis writes", look=services.redis_takes_writes, needs="Redis"),
    Check(name="Redis eviction", look=services.redis_evicts_nothing, needs="Redis"),
    Check(name="Redis persistence", look=services.redis_keeps_what_it_has, needs="Redis"),
    Check(name="S3", look=services.bucket_answers),
    Check(name="S3 rights", look=services.bucket_may_be_used, needs="S3"),
    Check(name="S3 clock", look=services.clock_agrees_with_s3),
    Check(name="disk", look=host.disk_has_room, exit_code=HOST),
    Check(name="card", look=host.card_is_there, exit_code=HOST),
    Check(name="model", look=host.model_is_whole, exit_code=HOST),
    Check(name="compiler", look=host.compiler_is_there, needs="model", exit_code=HOST),
    Check(name="engine", look=host.engine_works, needs="model", exit_code=HOST),
)
#: What to do where an error's own message does not say it.
TO_DO: Final = {
    "Postgres": "start it, give it more max_connections, or correct PACKSHOT_DATABASE_URL",
    "schema": "use the newer of the two: 'packshot init' of its version, then its workers",
    "Redis": "start it, or correct PACKSHOT_REDIS_URL; the cards work without it meanwhile",
    "S3": "start it, correct PACKSHOT_S3_URL, or run 'packshot init' to make the bucket",
    "card": "correct PACKSHOT_CARD",
    "compiler": "install it, or set PACKSHOT_COMPILED=false",
    "model": "correct PACKSHOT_MODEL, …_MODEL_DIR, …_PROFILES or …_LICENCES",
}
LOOK_AT_IT: Final = "see docs/operations.md"


def examine(*, deep: bool = False) -> list[Row]:
    """Every check that can be made.  Settings that are wrong leave nothing else to look at."""
    try:
        settings = WorkerSettings.load()
        site = Site(settings=settings, services=connect(settings), deep=deep)
    except BadSettings as error:
        return [Row(check="settings", finding=problem(str(error), "see docs/operations.md"))]
    try:
        return [Row(check="settings", finding=fine("complete")), *look(site)]
    finally:
        site.services.close()


def look(site: Site) -> list[Row]:
    rows: dict[str, Row] = {}
    for check in CHECKS:
        needed = rows.get(check.needs)
        if needed is not None and needed.finding.verdict is Verdict.PROBLEM:
            finding = skipped(f"{check.needs} is not well")
        else:
            finding = _looked(check, site)
        rows[check.name] = Row(check=check.name, finding=finding, exit_code=check.exit_code)
    return [*rows.values()]


def _looked(check: Check, site: Site) -> Finding:
    """What fails is a finding; no check keeps the others from being made."""
    to_do = TO_DO.get(check.name, LOOK_AT_IT)
    try:
        return check.look(site)
    except JobsError as error:
        return problem(str(error), to_do)
    except Exception as error:  # noqa: BLE001 - as above
        return problem(f"{type(error).__name__}: {error}", to_do)
