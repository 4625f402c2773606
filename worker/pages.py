"""A few pages on loopback, and how to ask for one."""

from __future__ import annotations

import errno
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from jobs.errors import BadSettings, Unavailable

log = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
ASK_TIMEOUT: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Page:
    body: bytes
    media_type: str
    status: HTTPStatus = HTTPStatus.OK
    sent: Callable[[], None] = lambda: None  #: called when whoever asked has been answered

    @classmethod
    def json(cls, value: object, status: HTTPStatus = HTTPStatus.OK) -> Self:
        return cls(json.dumps(value).encode(), "application/json", status)


#: By path.
Pages = Mapping[str, Callable[[], Page]]


def well(problems: list[str], **facts: object) -> Page:
    """Of a probe: 200, or 503 and why."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return Page.json({"ok": not problems, **facts, "problems": problems}, status)


def serve(pages: Pages, port: int, *, setting: str) -> ThreadingHTTPServer:
    """Answer on loopback from a thread of its own.

    Raises ``BadSettings``, naming the ``setting`` that the port came from, for a taken one.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = ASK_TIMEOUT  # who connects and asks nothing keeps no thread

        def do_GET(self) -> None:
            page = _shown(pages, self.path.partition("?")[0])
            self.send_response(page.status)
            self.send_header("Content-Type", page.media_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)
            page.sent()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name too
            """A probe every second is no news."""

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        taken = ": end whoever has it, perhaps another one of us, or choose another port"
        hint = taken if error.errno == errno.EADDRINUSE else ""
        raise BadSettings(f"{setting}: {LOOPBACK}:{port}: {error.strerror}{hint}") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="pages", daemon=True).start()
    return server


def _shown(pages: Pages, path: str) -> Page:
    if path not in pages:
        return Page.json({"paths": [*pages]}, HTTPStatus.NOT_FOUND)
    try:
        return pages[path]()
    except Exception:  # the edge: who asks is answered
        log.exception("page_crashed", extra={"path": path})
        return Page.json({"ok": False}, HTTPStatus.INTERNAL_SERVER_ERROR)


def ask(port: int, path: str) -> Mapping[str, Any]:
    """The JSON object of a page.  Raises ``Unavailable`` if nobody answers with one."""
    where = f"{LOOPBACK}:{port}{path}"
    try:
        found = json.loads(read(port, path).body)
    except ValueError as error:
        raise Unavailable(f"what answers at {where} is not ours") from error
    if not isinstance(found, dict):
        raise Unavailable(f"what answers at {where} is not ours")
    return found


def read(port: int, path: str) -> Page:
    """Whatever a page holds.  Raises ``Unavailable``."""
    connection = HTTPConnection(LOOPBACK, port, timeout=ASK_TIMEOUT)  # through nobody's proxy
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body, status = response.read(), HTTPStatus(response.status)
        return Page(body, response.headers.get("Content-Type", ""), status)
    except (OSError, HTTPException, ValueError) as error:
        told = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unavailable(f"nobody answers at {LOOPBACK}:{port}{path}: {told}") from error
    finally:
        connection.close()
