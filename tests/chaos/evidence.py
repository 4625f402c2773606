"""All that a run has left behind, read with plain SQL: a checker trusts no code that it checks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from jobs.artifacts import ArtifactStore
from jobs.errors import NoSuchArtifact
from jobs.model import ArtifactKey
from tests.chaos.journal import read

JOBS: Final = """
    SELECT id::text AS id, tenant, idempotency_key AS key, superseded, state, attempt, failures,
           failure_class, error_code, result FROM job
"""
MOVES: Final = """
    SELECT job_id::text AS job, extract(epoch FROM at)::float8 AS at, who, from_state, to_state,
           attempt, why FROM move ORDER BY id
"""
READERS: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A job as it stands in the ledger at the end."""

    id: str
    tenant: str
    key: str
    superseded: bool
    state: str
    attempt: int
    failures: int = 0
    failure_class: str | None = None
    error_code: str | None = None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Audited:
    """A row of the audit; ``at`` in seconds since the epoch, by the database's clock."""

    job: str
    at: float
    who: str
    from_state: str | None
    to_state: str
    attempt: int
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    jobs: Sequence[Row]
    moves: Sequence[Audited]
    #: sha256 of each object under ``…/outputs/``, by key
    objects: Mapping[str, str]
    #: what the producers wrote down
    promises: Sequence[Mapping[str, Any]] = ()
    #: what the observer saw announced
    seen: Sequence[Mapping[str, Any]] = ()
    #: the workers' log lines
    told: Sequence[Mapping[str, Any]] = ()
    #: what the nemesis did
    faults: Sequence[Mapping[str, Any]] = ()
    longest_redis_list: int = 0
    worker_exits: Sequence[int] = field(default=())


def read_ledger(database_url: str) -> tuple[list[Row], list[Audited]]:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        jobs = [Row(**row) for row in connection.execute(JOBS)]
        moves = [Audited(**row) for row in connection.execute(MOVES)]
    return jobs, moves


def read_bucket(artifacts: ArtifactStore) -> dict[str, str]:
    """Every output, read whole: what an entity tag says is the server's word, not the bytes."""
    keys = [key for key in artifacts.keys("") if "/outputs/" in key]
    with ThreadPoolExecutor(READERS) as pool:
        digests = pool.map(lambda key: _digest(artifacts, key), keys)
        return {key: digest for key, digest in zip(keys, digests, strict=True) if digest}


def _digest(artifacts: ArtifactStore, key: ArtifactKey) -> str:
    try:
        return hashlib.sha256(artifacts.get(key)).hexdigest()
    except NoSuchArtifact:  # listed, and not there: it counts as not there
        return ""


def read_journals(paths: Iterable[Path]) -> list[Mapping[str, Any]]:
    return [line for path in paths for line in read(path)]
