"""A web server over a folder that can break off, forget ranges and fail, as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Weather:
    """How the server behaves, and what it was asked."""

    cut_after: list[int] = field(default_factory=list)  #: bytes, for the next answers
    fail_with: list[int] = field(default_factory=list)  #: status, for the next answers
    ranges: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)  #: path and Range


@contextmanager
def web_server(folder: Path, weather: Weather) -> Iterator[str]:
    """Its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            weather.asked.append((self.path, wanted))
            path = folder / self.path.partition("?")[0].lstrip("/")
            status = weather.fail_with.pop(0) if weather.fail_with else 200
            if status != 200 or not path.is_file():
                self.send_error(status if status != 200 else 404)
                return
            content = path.read_bytes()
            start = int(wanted[6:-1]) if wanted and weather.ranges else 0
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = start + weather.cut_after.pop(0) if weather.cut_after else None
            self.wfile.write(content[start:end])

        def log_message(self, *_: object) -> None: ...

    with served(Handler) as url:
        yield url


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server on a free port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
