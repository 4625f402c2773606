"""A small TCP proxy: what stands between a worker and a server, and may fail on command."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from enum import Enum, auto
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

CHUNK: Final = 65_536
DELAY: Final = 0.2  # seconds that SLOW adds to each chunk
POLL: Final = 0.02  # seconds
#: On, with no time to linger: closing sends RST, as a firewall does.
RESET: Final = struct.pack("ii", 1, 0)


class Mode(Enum):
    PASS = auto()
    CUT = auto()  #: links are reset, new ones at once
    BLACKHOLE = auto()  #: links are accepted and stay open; what is sent on them vanishes
    SLOW = auto()  #: each chunk comes ``DELAY`` seconds late


class Link:
    """One client's connection and ours to the server, with a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.is_half_open = False
        self._ends = (client, server)
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def close(self, *, reset: bool = False) -> None:
        for end in self._ends:
            with suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK):
                if self.is_half_open or self.proxy.mode is Mode.BLACKHOLE:
                    continue
                if self.proxy.mode is Mode.SLOW:
                    self.proxy.ended.wait(DELAY)
                while self.proxy.holds_back(chunk):
                    self.proxy.ended.wait(POLL)
                target.sendall(chunk)
        self.proxy.forget(self)
        self.close()


class Proxy:
    """Listens on a port of its own.  ``mode`` holds for all links, present and future."""

    def __init__(self, port: int) -> None:
        """``port``: the server's, on loopback."""
        self.target = port
        self.ended = threading.Event()
        self.held_back = b""  #: chunks with these bytes wait, and their links with them
        self.is_holding = threading.Event()  #: such a chunk has come
        self._mode = Mode.PASS
        self._links: list[Link] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self.links():
            link.close()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.CUT:
            for link in self.links():
                link.close(reset=True)

    def half_open(self) -> int:
        """Present links fall silent for good, and look open; new ones pass.  How many fell."""
        links = self.links()
        for link in links:
            link.is_half_open = True
        return len(links)

    def holds_back(self, chunk: bytes) -> bool:
        holds = bool(self.held_back) and self.held_back in chunk and not self.ended.is_set()
        if holds:
            self.is_holding.set()
        return holds

    def links(self) -> list[Link]:
        with self._lock:
            return list(self._links)

    def forget(self, link: Link) -> None:
        with self._lock:
            if link in self._links:
                self._links.remove(link)

    def url(self, url: str) -> str:
        """``url`` of the server, led through here."""
        parts = urlsplit(url)
        where = f"127.0.0.1:{self.port}"
        account, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{account}{at}{where}").geturl()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._link(client)

    def _link(self, client: socket.socket) -> None:
        if self._mode is Mode.CUT:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:  # the server is away: so are we
            client.close()
            return
        if server.getsockname() == server.getpeername():
            # Nobody listens, and TCP has joined the socket to itself: it would keep the server's
            # port from the server.
            server.close()
            client.close()
            return
        server.settimeout(None)
        with self._lock:
            self._links.append(Link(self, client, server))
