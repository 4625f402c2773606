"""The embedded servers, as durable as in production: Postgres and Redis write to disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from standalone.servers import Servers


@contextmanager
def started() -> Iterator[Servers]:
    """Fresh ones in a folder of their own, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="packshot-bench-") as folder:
        servers = Servers(Path(folder) / "data")
        try:
            servers.start()
            yield servers
        finally:
            servers.erase()
