"""Is this process alive, and ready?  Answered from what it sees itself, never through the broker.

A liveness that needed Redis would turn its outage into a restart of every worker, and each
restart loads a model.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from jobs.errors import BadSettings, Unavailable
from jobs.ledger import WORKER_TIMEOUT
from worker.pulse import Pulse
from worker.watchdog import Watchdog

LOOPBACK: Final = "127.0.0.1"
#: A loop that is silent for longer stands still: seconds.  A round may wait for a frozen ledger
#: (``jobs.postgres.connection``) twice over.
LOOP_LIMIT: Final = 90.0
#: Silent for longer, the ledger counts the worker as gone.
LEDGER_LIMIT: Final = WORKER_TIMEOUT.total_seconds()
ASK_TIMEOUT: Final = 5.0  # seconds

Answer = tuple[HTTPStatus, Mapping[str, Any]]


class Phase(StrEnum):
    LOADING = "loading"
    WORKING = "working"
    DRAINING = "draining"


class Health:
    """Collects what the parts of a worker show of themselves."""

    def __init__(self) -> None:
        self.phase = Phase.LOADING
        self._loops: Mapping[str, Pulse] = {}
        self._ledger: Pulse | None = None
        self._watchdog: Watchdog | None = None

    def watch(self, *, leases: Pulse, intake: Pulse, ledger: Pulse, watchdog: Watchdog) -> None:
        """From now on the process works, and these are its signs of life."""
        self._loops = {"leases": leases, "intake": intake}
        self._ledger = ledger
        self._watchdog = watchdog
        self.phase = Phase.WORKING

    def why_not_live(self) -> list[str]:
        """What only a new process heals."""
        still = {name: pulse.age for name, pulse in self._loops.items()}
        if self.phase is Phase.DRAINING:
            still.pop("intake", None)  # it has ended
        problems = [
            f"the loop of {name} stands still for {age:.0f} s"
            for name, age in still.items()
            if age > LOOP_LIMIT
        ]
        if self._watchdog is not None and self._watchdog.hung is not None:
            problems.append(f"the card made no step for {self._watchdog.patience:g} s")
        return problems

    def why_not_ready(self) -> list[str]:
        """Why nobody should count on this worker now."""
        problems = self.why_not_live()
        if self.phase is not Phase.WORKING:
            problems.append(f"the worker is {self.phase}")
        if self._ledger is not None and self._ledger.age > LEDGER_LIMIT:
            problems.append(f"the ledger has not answered for {self._ledger.age:.0f} s")
        return problems

    def answers(self) -> Mapping[str, Callable[[], Answer]]:
        """By path."""
        return {
            "/livez": lambda: self._answer(self.why_not_live()),
            "/readyz": lambda: self._answer(self.why_not_ready()),
        }

    def _answer(self, problems: list[str]) -> Answer:
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        return status, {"ok": not problems, "phase": self.phase, "problems": problems}


def serve(health: Health, port: int) -> ThreadingHTTPServer:
    """Answer on loopback from a thread of its own.  Raises ``BadSettings`` for a taken port."""
    answers = health.answers()

    class Handler(BaseHTTPRequestHandler):
        timeout = ASK_TIMEOUT  # who connects and asks nothing keeps no thread

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            status, body = answer() if answer else (HTTPStatus.NOT_FOUND, {"paths": [*answers]})
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name too
            """A probe every second is no news."""

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        raise BadSettings(f"PACKSHOT_HEALTH_PORT: {LOOPBACK}:{port}: {error.strerror}") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


def ask(port: int, path: str) -> Mapping[str, Any]:
    """What a worker's ``/livez`` or ``/readyz`` says.  Raises ``Unavailable`` if nobody answers."""
    where = f"{LOOPBACK}:{port}{path}"
    connection = HTTPConnection(LOOPBACK, port, timeout=ASK_TIMEOUT)  # through nobody's proxy
    try:
        connection.request("GET", path)
        found = json.loads(connection.getresponse().read())
    except (OSError, HTTPException) as error:
        raise Unavailable(f"no worker answers at {where}: {error}") from error
    except ValueError as error:
        raise Unavailable(f"{where} is no worker's") from error
    finally:
        connection.close()
    if not isinstance(found, dict):
        raise Unavailable(f"{where} is no worker's")
    return found
