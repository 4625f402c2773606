"""Fakes that ship: ledger, artifacts and dispatcher in memory, for tests and for trying things.

A fake passes the conformance suite of its port beside the real thing (tests/conformance/), so
what works with it works with Postgres, S3 or Redis.  It lasts as long as its process.
"""

from __future__ import annotations

from jobs.testing.memory_artifacts import MemoryArtifacts
from jobs.testing.memory_ledger import MemoryLedger
from jobs.testing.memory_rows import AttemptRecord
from jobs.testing.recording_dispatcher import RecordingDispatcher

__all__ = ["AttemptRecord", "MemoryArtifacts", "MemoryLedger", "RecordingDispatcher"]
