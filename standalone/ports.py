"""Ports on loopback, remembered in the data folder so that written addresses remain true."""

from __future__ import annotations

import json
import secrets
import socket
from itertools import chain
from pathlib import Path

from jobs.errors import BadSettings, Unavailable
from standalone.process import LOOPBACK, write_private

#: Below the range that Linux takes for outgoing connections (twins included): none of those can
#: sit on a port of ours while its server is down.
_CHOICE = range(12_000, 22_000)
_TRIES = 200


class Ports:
    """Which port belongs to whom, kept in one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}

    def claim(self, owner: str, *, wanted: int | None = None, twin: int = 0) -> int:
        """The port of ``owner``: the wanted one, else the one it had, else any free one.

        With ``twin``, the port that much higher is the owner's too.  Raises ``BadSettings`` if
        the wanted one is taken.
        """
        port = self._check(owner, wanted) if wanted is not None else self._choose(owner, twin)
        self._known[owner] = port
        if twin:
            self._known[f"{owner}+{twin}"] = port + twin
        write_private(self._file, json.dumps(self._known, indent=2))
        return port

    def _check(self, owner: str, wanted: int) -> int:
        if not 0 < wanted < 65_536:
            raise BadSettings(f"{wanted}, named for {owner}, is no port: take one of 1 to 65535")
        if not self._is_open_to(owner, wanted):
            raise BadSettings(
                f"port {wanted}, named for {owner}, is taken on {LOOPBACK}: "
                "name another, or none and get a free one"
            )
        return wanted

    def _choose(self, owner: str, twin: int) -> int:
        known = [self._known[owner]] if owner in self._known else []
        for port in chain(known, (secrets.choice(_CHOICE) for _ in range(_TRIES))):
            if self._is_open_to(owner, port) and self._is_open_to(owner, port + twin):
                return port
        raise Unavailable(f"no free port for {owner} on {LOOPBACK} in {_CHOICE}")

    def _is_open_to(self, owner: str, port: int) -> bool:
        others = (had for name, had in self._known.items() if name.partition("+")[0] != owner)
        return port not in others and is_free(port)


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # What a closed connection leaves behind for a minute keeps no server from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
