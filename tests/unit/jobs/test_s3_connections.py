"""A slow link is no dead server: what goes in small pieces is waited for piece by piece."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from jobs import s3_connections
from jobs.s3_connections import connections

TIMEOUT = 2.0  # seconds
CHUNK = 4_096
PER_SECOND = 25  # chunks: 100 kB/s
BODY = bytes(6 * 100_000)  # three time-outs long


def _serve(listener: socket.socket) -> None:
    """One request, read slowly."""
    link, _ = listener.accept()
    with link:
        head = b""
        while b"\r\n\r\n" not in head:
            head += link.recv(1)
        missing = len(BODY)
        while missing:
            threading.Event().wait(1 / PER_SECOND)  # the link itself takes this long
            missing -= len(link.recv(min(CHUNK, missing)))
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def slow_server() -> Iterator[str]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_picture_goes_over_a_slow_link(slow_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECT_TIMEOUT", "READ_TIMEOUT"):
        monkeypatch.setattr(s3_connections, name, TIMEOUT)
    monkeypatch.setattr(s3_connections, "PIECE", 2 * CHUNK)

    with connections() as pool:
        answer = pool.request("PUT", slow_server, body=BODY, retries=False)

    assert answer.status == 200
