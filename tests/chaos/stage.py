"""Servers, and a link of its own from each client to each of them, which can be made to fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

from standalone.process import ChildServer
from standalone.servers import Servers
from tests.faults.proxy import Mode, Proxy

#: What an S3 server says in an error; the SDK reads it.
ERROR: Final = b"<Error><Code>%s</Code><Message>chaos</Message></Error>"
CODES: Final = {500: b"InternalError", 503: b"SlowDown"}
SETTING: Final = {
    "postgres": "PACKSHOT_DATABASE_URL",
    "redis": "PACKSHOT_REDIS_URL",
    "s3": "PACKSHOT_S3_URL",
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    servers: Servers
    folder: Path
    links: dict[tuple[str, str], Proxy]  #: by client and server
    refusals: dict[int, int]  #: ports where S3 answers with this status

    def environment(self, client: str) -> dict[str, str]:
        """Settings that lead the client through its own links."""
        direct = self.servers.environment()
        return {
            setting: self.links[client, server].url(direct[setting])
            for server, setting in SETTING.items()
        }

    def silence(self, link: Proxy) -> None:
        """Present connections stay open and dead for good; new ones fall silent too."""
        link.half_open()
        link.mode = Mode.BLACKHOLE

    def mend(self, link: Proxy) -> None:
        """New connections pass.  What was sent into silence is lost, so its links stay dead."""
        if link.mode is Mode.BLACKHOLE:
            link.half_open()
        link.mode = Mode.PASS

    def refuse(self, status: int | None) -> None:
        """From now on the bucket answers everybody so; ``None``: as it should."""
        port = self.servers.s3.port if status is None else self.refusals[status]
        for (_, server), link in self.links.items():
            if server == "s3":
                link.target = port
                for one in link.links():
                    one.close(reset=True)

    def server(self, name: str) -> ChildServer:
        return {
            "postgres": self.servers.postgres,
            "redis": self.servers.redis,
            "s3": self.servers.s3,
        }[name]


@contextmanager
def staged(folder: Path, clients: Iterable[str]) -> Iterator[Stage]:
    """Everything up, and down again at the end; the servers' data are gone then."""
    servers = Servers(folder / "servers")
    with ExitStack() as stack:
        stack.callback(servers.erase)
        stack.enter_context(servers)
        links = {
            (client, name): stack.enter_context(Proxy(server.port))
            for client in clients
            for name, server in (
                ("postgres", servers.postgres),
                ("redis", servers.redis),
                ("s3", servers.s3),
            )
        }
        refusals = {status: stack.enter_context(_refusing(status)) for status in CODES}
        yield Stage(servers=servers, folder=folder, links=links, refusals=refusals)


@contextmanager
def _refusing(status: int) -> Iterator[int]:
    """The port of a server that answers each request so."""

    class Refusal(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = ERROR % CODES[status]
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 - the base's names

        def log_message(self, *_: object) -> None:
            """Nobody asked."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, name="refusal", daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
