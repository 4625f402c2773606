"""A port of one's own, before anything else is started."""

from __future__ import annotations

import socket

from jobs.errors import BadSettings


def listener(address: str, port: int, *, options: str) -> socket.socket:
    """Bound already, so that the port is known; 0 takes a free one.

    ``options``: how the caller names the two.  Raises ``BadSettings`` for an address that is
    none of this machine's, and for a port that is taken.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except (OSError, UnicodeError) as error:
        # Python adds the address, which is named already.
        reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]
        raise BadSettings(f"{options}: cannot listen on {address}:{port}: {reason}") from error


def url(of: socket.socket) -> str:
    """Where a browser finds it."""
    address, port = of.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
