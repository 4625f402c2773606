"""Postgres, Redis and S3 on loopback, over one data folder."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.errors import BadSettings, Unavailable
from standalone.ports import Ports
from standalone.postgres import PostgresServer
from standalone.process import ChildServer, make_private, polls, remove_tree, write_private
from standalone.redis import RedisServer
from standalone.s3 import INNER_PORTS, TWINS, S3Keys, S3Server

_KEY_BYTES = 16
#: Longer than servers take to die with whoever started them.
_LOCK_TIMEOUT = timedelta(seconds=5)


class Servers:
    """The three servers that Packshot needs.

    Ports, credentials and data are kept in ``data_dir``, and found again on the next start; a
    port that something else has taken meanwhile is replaced, unless it was named here.  One
    process at a time may use a folder.  The servers do not outlive the thread that started them
    (on Linux).

    ``start`` raises ``BadSettings`` for a named port that is taken or a folder that cannot be
    written to, and ``Unavailable`` for a server that does not come up; no server runs then.
    """

    postgres: PostgresServer  #: from the first ``start`` on, like the other two
    redis: RedisServer
    s3: S3Server

    def __init__(
        self,
        data_dir: Path,
        *,
        postgres_port: int | None = None,
        redis_port: int | None = None,
        s3_port: int | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._wanted = {"Postgres": postgres_port, "Redis": redis_port, "S3": s3_port}
        self._lock: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Return when all three have answered.  Those that run already are left alone."""
        try:
            self._hold_folder()
            # Postgres last: its first start makes the cluster, and the others use the time.
            for server in reversed(self._all):
                server.launch()
            for server in self._all:
                server.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all three cleanly.  Nothing to do is no error."""
        for server in self._all:
            server.begin_stop()
        for server in self._all:
            server.wait_until_stopped()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def revive(self) -> list[str]:
        """Start again those that have ended by themselves; their names.  Raises ``Unavailable``."""
        ended = [server for server in self._all if not server.is_running]
        for server in ended:
            server.kill()  # what is left of its children must be gone before
            server.start()
        return [server.name for server in ended]

    def erase(self) -> None:
        """Stop, and remove all data: the folder, and what had to be put outside it."""
        self.stop()
        PostgresServer(self.data_dir / "postgres", port=0, password="").erase()
        remove_tree(self.data_dir)

    def environment(self) -> dict[str, str]:
        """The settings with which Packshot finds the three."""
        return {
            "PACKSHOT_DATABASE_URL": self.postgres.url,
            "PACKSHOT_REDIS_URL": self.redis.url,
            "PACKSHOT_S3_URL": self.s3.url,
        }

    @property
    def _all(self) -> tuple[ChildServer, ...]:
        return (self.postgres, self.redis, self.s3) if hasattr(self, "s3") else ()

    def _hold_folder(self) -> None:
        if self._lock is None:
            try:
                self.data_dir.mkdir(parents=True, exist_ok=True)
                self._lock = _sole_use(self.data_dir)
            except OSError as error:
                raise BadSettings(
                    f"{self.data_dir} cannot keep the data: {error.strerror}; name another folder"
                ) from error
        if not self._all:
            self._set_up()
        for server in self._all:
            server.lock = self._lock

    def _set_up(self) -> None:
        ports, keys = Ports(self.data_dir / "ports.json"), _Keys(self.data_dir / "keys.json")
        port = {name: ports.claim(name, wanted=wanted) for name, wanted in self._wanted.items()}
        inner_ports = {name: ports.claim(name, twin=TWINS.get(name, 0)) for name in INNER_PORTS}
        self.postgres = PostgresServer(
            self.data_dir / "postgres", port=port["Postgres"], password=keys["postgres"]
        )
        self.redis = RedisServer(
            make_private(self.data_dir / "redis"), port=port["Redis"], password=keys["redis"]
        )
        self.s3 = S3Server(
            make_private(self.data_dir / "s3"),
            port=port["S3"],
            keys=S3Keys(access=keys["s3-access"], secret=keys["s3-secret"], inner=keys["s3-inner"]),
            inner_ports=inner_ports,
        )


class _Keys:
    """Random keys by name, each made once and kept in a file that only we can read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = secrets.token_hex(_KEY_BYTES)
            write_private(self._file, json.dumps(self._known, indent=2))
        return self._known[name]


def _sole_use(folder: Path) -> int:
    """A lock on the folder.  The servers hold it too, so that it outlives us as they may.

    Whoever comes after a crash thereby waits for the old servers to be gone.
    """
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    for _ in polls(_LOCK_TIMEOUT):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
    os.close(lock)
    raise Unavailable(f"the servers of {folder} run already: stop them, or use another folder")
