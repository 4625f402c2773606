"""Carries out the schedule, and takes everything back at the end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Final

import psycopg
import redis

from jobs.errors import Unavailable
from tests.chaos.fleet import Fleet
from tests.chaos.journal import Journal
from tests.chaos.plan import OF_SERVERS, OF_WORKERS, SERVERS, Fault, Kind
from tests.chaos.stage import Stage
from tests.faults.proxy import Mode

LOOK: Final = 0.05  # seconds
TRIES: Final = 20  # a second apart, to start a server
LINKS: Final = {
    Kind.CUT_LEDGER: "postgres",
    Kind.SILENT_LEDGER: "postgres",
    Kind.CUT_REDIS: "redis",
    Kind.SILENT_REDIS: "redis",
    Kind.CUT_BUCKET: "s3",
    Kind.SILENT_BUCKET: "s3",
    Kind.SLOW_BUCKET: "s3",
}
SILENT: Final = frozenset({Kind.SILENT_LEDGER, Kind.SILENT_REDIS, Kind.SILENT_BUCKET})
STATUS: Final = {Kind.BUCKET_500: 500, Kind.BUCKET_503: 503}


@dataclass(kw_only=True)
class Nemesis:
    """Runs in the thread that started the servers, as they end with it."""

    stage: Stage
    fleet: Fleet
    journal: Journal
    say: Callable[[str], None]
    done: list[Fault] = field(default_factory=list)

    def run(self, faults: Sequence[Fault]) -> None:
        """A server that is slow to stop delays what follows; the order stays."""
        began = time.monotonic()
        events = [(one.at, True, one) for one in faults]
        events += [(one.ends, False, one) for one in faults]
        for moment, begins, fault in sorted(events, key=lambda event: event[0]):
            self._wait_until(began + moment)
            if begins:
                self._begin(fault, time.monotonic() - began)
            else:
                self._end(fault)

    def heal(self) -> None:
        """No fault is left, whatever became of the schedule."""
        self.stage.refuse(None)
        for link in self.stage.links.values():
            self.stage.mend(link)
        for server in SERVERS:
            self.stage.server(server).resume()
            self._start(server)
        for slot in self.fleet.slots.values():
            slot.kept_down = False
            slot.signal(signal.SIGCONT)
        self.fleet.revive()

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self.fleet.revive()
            Event().wait(min(LOOK, left))

    def _begin(self, fault: Fault, now: float) -> None:
        pid = self.fleet[fault.target].pid if fault.target in self.fleet.slots else 0
        self.say(f"{now:6.1f} s  {fault.kind} ({fault.target}, {fault.lasts:.1f} s)")
        self.journal.write(
            {
                "at": time.time(),
                "kind": fault.kind.value,
                "target": fault.target,
                "lasts": fault.lasts,
                "pid": pid,
            }
        )
        if fault.kind in OF_WORKERS:
            self._begin_worker(fault)
        elif fault.kind in OF_SERVERS:
            self._begin_server(fault)
        else:
            self._begin_link(fault)
        self.done.append(fault)

    def _begin_worker(self, fault: Fault) -> None:
        slot = self.fleet[fault.target]
        match fault.kind:
            case Kind.KILL_WORKER:
                slot.kept_down = True
                slot.signal(signal.SIGKILL)
            case Kind.STOP_WORKER:
                slot.signal(signal.SIGSTOP)
            case _:
                slot.kept_down = True
                slot.signal(signal.SIGTERM)

    def _begin_link(self, fault: Fault) -> None:
        link = self.stage.links[fault.target, LINKS[fault.kind]]
        if fault.kind in SILENT:
            self.stage.silence(link)
        else:
            link.mode = Mode.SLOW if fault.kind is Kind.SLOW_BUCKET else Mode.CUT

    def _begin_server(self, fault: Fault) -> None:
        server = self.stage.server(fault.target)
        match fault.kind:
            case Kind.EMPTY_REDIS:
                with suppress(redis.RedisError):
                    redis.Redis.from_url(server.url).flushall()
            case Kind.END_BACKENDS:
                self._end_backends(server.url)
            case Kind.BUCKET_500 | Kind.BUCKET_503:
                self.stage.refuse(STATUS[fault.kind])
            case Kind.FREEZE_REDIS:
                server.pause()
            case Kind.RESTART_LEDGER:
                server.stop()
            case _:
                server.kill()

    def _end_backends(self, url: str) -> None:
        with suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def _start(self, name: str) -> None:
        """While a server is away, any program's outgoing connection may be given its port.

        Raises ``Unavailable`` if the port stays taken.
        """
        server = self.stage.server(name)
        for _ in range(TRIES):
            with suppress(Unavailable):
                return server.start()
            server.kill()  # what is left of its children
            Event().wait(1)
        return server.start()

    def _end(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.KILL_WORKER | Kind.DEPLOY:
                self.fleet[fault.target].kept_down = False
            case Kind.STOP_WORKER:
                self.fleet[fault.target].signal(signal.SIGCONT)
            case Kind.EMPTY_REDIS | Kind.END_BACKENDS:
                pass
            case Kind.BUCKET_500 | Kind.BUCKET_503:
                self.stage.refuse(None)
            case Kind.FREEZE_REDIS:
                self.stage.servers.redis.resume()
            case _ if fault.kind in OF_SERVERS:
                self._start(fault.target)
            case _:
                self.stage.mend(self.stage.links[fault.target, LINKS[fault.kind]])
