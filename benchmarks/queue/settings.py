"""Where the servers of a run are, for the worker processes of the other queues."""

from __future__ import annotations

import os

REDIS: str = os.environ.get("BENCH_REDIS_URL", "")  # noqa: TID251 - this is the settings module
POSTGRES: str = os.environ.get("BENCH_POSTGRES_URL", "")  # noqa: TID251 - as above
