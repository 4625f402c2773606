"""Watches announcements while everything breaks: what was announced must stay as it was.

A process of its own, connected to the servers directly.  ``python -m tests.chaos.observer`` reads
from standard input where they are and where to write.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from jobs.artifacts import ArtifactStore
from jobs.errors import NoSuchArtifact, Unavailable
from jobs.model import ArtifactKey
from jobs.s3 import S3Store
from tests.chaos.journal import Journal

EVERY: Final = 0.5  # seconds
AGAIN: Final = 10  # announcements that each round looks at once more
#: Before the latest end that was seen, to find those that committed meanwhile.
FINAL: Final = """
    SELECT id::text AS job, state, attempt, result, extract(epoch FROM finished_at)::float8 AS at
      FROM job
     WHERE state IN ('succeeded', 'failed', 'cancelled')
       AND finished_at > to_timestamp(%s) - interval '1 minute'
"""
ONE: Final = "SELECT id::text AS job, state, attempt, result FROM job WHERE id = %s"


class Observer:
    """Notes each ending when it first sees it, and a few old ones each round."""

    def __init__(self, database_url: str, artifacts: ArtifactStore, journal: Journal) -> None:
        self.database_url = database_url
        self.artifacts = artifacts
        self.journal = journal
        self.seen: list[str] = []
        self._known: set[str] = set()
        self._latest = 0.0
        self._chance = random.Random()

    def round(self) -> None:
        """A server that is away ends the round; the next one catches up."""
        with (
            suppress(psycopg.Error),
            psycopg.connect(
                self.database_url, autocommit=True, row_factory=dict_row, connect_timeout=3
            ) as connection,
        ):
            for row in connection.execute(FINAL, [self._latest]).fetchall():
                at = row.pop("at")
                if row["job"] not in self._known:
                    self._note(row)
                    self._known.add(row["job"])
                    self.seen.append(row["job"])
                    self._latest = max(self._latest, at)
            for job in self._chance.sample(self.seen, min(AGAIN, len(self.seen))):
                found = connection.execute(ONE, [job]).fetchone()
                self._note(found or {"job": job, "state": "gone", "attempt": 0, "result": None})

    def _note(self, row: dict[str, Any]) -> None:
        self.journal.write({**row, "sha256": self._digest(row["result"])})

    def _digest(self, result: dict[str, Any] | None) -> str | None:
        """Of the announced picture's bytes; ``missing`` where the bucket has none of that name."""
        if result is None:
            return None
        try:
            return hashlib.sha256(self.artifacts.get(ArtifactKey(result["key"]))).hexdigest()
        except NoSuchArtifact:
            return "missing"
        except Unavailable:
            return None


def watch(observer: Observer, ended: Callable[[float], bool]) -> None:
    while not ended(EVERY):
        observer.round()
    observer.round()


def main() -> None:
    orders = json.load(sys.stdin)
    ended = Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    store = S3Store.from_url(orders["s3_url"])
    watch(Observer(orders["database_url"], store, Journal(Path(orders["journal"]))), ended.wait)


if __name__ == "__main__":
    main()
