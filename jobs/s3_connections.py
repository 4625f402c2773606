"""Connections to S3: quick to give up a server that says nothing, patient with a slow link."""

from __future__ import annotations

import socket
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

CONNECT_TIMEOUT: Final = 3.0  # seconds
READ_TIMEOUT: Final = 10.0  # seconds without a byte; three tries, and callers wait for them
KEPT_OPEN: Final = 16  # connections
#: Answers worth the SDK's own next try, a moment later.
RETRIED: Final = (500, 502, 503, 504)
#: Bytes that are sent, or lie in the kernel, before seconds are counted anew: a link of 30 kB/s
#: is slow, not dead.
PIECE: Final = 131_072


def connections() -> urllib3.PoolManager:
    pool = urllib3.PoolManager(
        maxsize=KEPT_OPEN,
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
        retries=urllib3.Retry(
            total=2, backoff_factor=0.2, status_forcelist=RETRIED, allowed_methods=None
        ),
        socket_options=[
            *HTTPConnection.default_socket_options,
            (socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE),
        ],
    )
    pool.pool_classes_by_scheme = {"http": _Plain, "https": _Secure}
    return pool


class _PieceByPiece:
    """Else a whole part of a large picture has to be gone within one time-out: 5 MiB in 3 s."""

    sock: socket.socket | None

    def send(self, data: Any) -> None:  # noqa: ANN401 - whatever http.client takes
        if self.sock is not None:
            self.sock.settimeout(READ_TIMEOUT)  # a new one still has that of connecting
        if isinstance(data, bytes):
            whole = memoryview(data)
            for start in range(0, len(whole), PIECE):
                super().send(whole[start : start + PIECE])  # type: ignore[misc]
        else:
            super().send(data)  # type: ignore[misc]


class _PlainConnection(_PieceByPiece, HTTPConnection):
    pass


class _SecureConnection(_PieceByPiece, HTTPSConnection):
    pass


class _Plain(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _Secure(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
