"""The three servers: there, of the right kind, set as Packshot needs them, and of one time."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import redis
import urllib3
from sqlalchemy import text

from jobs.artifacts import ArtifactStore
from jobs.celery_dispatch import client_of
from jobs.errors import Unavailable
from jobs.model import ArtifactKey
from jobs.postgres.migrate import MIN_SERVER, check_schema
from jobs.s3 import RIGHTS
from jobs.s3_connections import READ_TIMEOUT
from worker.doctor.findings import Finding, Site, fine, problem, warning

#: Nothing of ours depends on the host's clock, but people compare logs.
NOTICEABLE: Final = timedelta(seconds=5)
#: S3 refuses what is signed further from its own time (RequestTimeTooSkewed).
REFUSED: Final = timedelta(minutes=15)
PROBES: Final = "doctor/"  # begins the keys of what the doctor writes
SET_THE_CLOCK: Final = "let an NTP client keep this machine's clock, or the server's"


def postgres_answers(site: Site) -> Finding:
    with site.services.database.connect() as connection:
        connection.execute(text("SELECT 1"))
    return fine(site.services.database.where)


def postgres_is_new_enough(site: Site) -> Finding:
    with site.services.database.connect() as connection:
        version, number = connection.execute(
            text(
                "SELECT current_setting('server_version'),"
                " current_setting('server_version_num')::int"
            )
        ).one()
    if number < MIN_SERVER:
        return problem(
            f"PostgreSQL {version}",
            f"move the ledger to PostgreSQL {MIN_SERVER // 10_000} or newer",
        )
    return fine(f"PostgreSQL {version}")


def postgres_takes_writes(site: Site) -> Finding:
    with site.services.database.connect() as connection:
        read_only = connection.execute(text("SHOW transaction_read_only")).scalar_one()
    if read_only == "on":
        return problem(
            "it takes no writes: a standby, or default_transaction_read_only is on",
            "name the primary in PACKSHOT_DATABASE_URL, or switch that off",
        )
    return fine("it takes writes")


def schema_is_ours(site: Site) -> Finding:
    check_schema(site.services.database)
    return fine("at this program's revision")


def clock_agrees_with_postgres(site: Site) -> Finding:
    before = site.clock()
    with site.services.database.connect() as connection:
        theirs = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    after = site.clock()
    return _skew(theirs, before + (after - before) / 2, of="Postgres")


def redis_answers(site: Site) -> Finding:
    version = _info(site, "server")["redis_version"]
    return fine(f"version {version}")


def redis_takes_writes(site: Site) -> Finding:
    try:
        _ask(site, lambda client: client.set(f"packshot.{_probe()}", b"", px=1))
    except Unavailable as error:
        return problem(
            str(error),
            "name the primary in PACKSHOT_REDIS_URL, not a replica; it needs memory and disk, and"
            " this user the right to write; the cards work without it meanwhile",
        )
    return fine("it takes writes")


def redis_evicts_nothing(site: Site) -> Finding:
    policy = _info(site, "memory").get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        return fine("maxmemory-policy noeviction")
    return problem(
        f"maxmemory-policy {policy}: a full Redis would drop messages in silence",
        "CONFIG SET maxmemory-policy noeviction, and write it into redis.conf",
    )


def redis_keeps_what_it_has(site: Site) -> Finding:
    if _info(site, "persistence").get("aof_enabled") == 1:
        return fine("append-only file")
    return warning(
        "no append-only file: a restart forgets messages, and they are sent again within seconds",
        "CONFIG SET appendonly yes, and write it into redis.conf",
    )


def bucket_answers(site: Site) -> Finding:
    store = site.services.artifacts
    next(store.stored(PROBES), None)  # a list: only the answer to a GET says what is wrong
    return fine(store.where)


def bucket_may_be_used(site: Site) -> Finding:
    """Write, read and delete under a key that nothing else uses."""
    store: ArtifactStore = site.services.artifacts
    key, data = _probe(), secrets.token_bytes(64)
    tried = "write"
    try:
        store.put(key, data, media_type="application/octet-stream")
        tried = "read"
        same = store.get(key) == data
        tried = "delete"
        store.delete([key])
    except Unavailable as error:
        return problem(f"may not {tried}: {error}", RIGHTS)
    if not same:
        return problem(f"{key}: other bytes came back", "look at what stands before the bucket")
    return fine("write, read, delete")


def clock_agrees_with_s3(site: Site) -> Finding:
    parts = urlsplit(site.settings.s3_url.get_secret_value())
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    try:
        with urllib3.PoolManager(retries=False, timeout=READ_TIMEOUT) as http:
            said = http.request("HEAD", where).headers.get("Date")
        theirs = parsedate_to_datetime(said or "")
    except (urllib3.exceptions.HTTPError, ValueError):
        return warning("S3 does not tell its time", "look at what stands before the bucket")
    return _skew(theirs, site.clock(), of="S3", refused=REFUSED)


def _skew(
    theirs: datetime, ours: datetime, *, of: str, refused: timedelta | None = None
) -> Finding:
    skew = ours - theirs
    side = "behind" if skew < timedelta(0) else "ahead of"
    told = f"this clock is {abs(skew).total_seconds():.1f} s {side} that of {of}"
    if refused is not None and abs(skew) >= refused:
        return problem(f"{told}, which refuses what we sign", SET_THE_CLOCK)
    if abs(skew) >= NOTICEABLE:
        return warning(told, SET_THE_CLOCK)
    return fine(f"within {NOTICEABLE.total_seconds():.0f} s")


def _info(site: Site, section: str) -> dict[str, Any]:
    return dict(_ask(site, lambda client: client.info(section)))


def _ask(site: Site, question: Callable[[redis.Redis], Any]) -> Any:  # noqa: ANN401 - as it says
    try:
        with client_of(site.settings.redis_url.get_secret_value()) as client:
            return question(client)
    except (redis.RedisError, OSError) as error:
        raise Unavailable(f"Redis at {site.services.dispatcher.where}: {error}") from error


def _probe() -> ArtifactKey:
    return ArtifactKey(f"{PROBES}{secrets.token_hex(8)}")
