"""Two unpacks of one release at once: the second undoes nothing that the first has completed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from envpack.node.host import Host
from envpack.pack.node_file import node_file
from tests.envpack_depot import SIGNER, TestDepot
from tests.unit.envpack.node.web import served

SECONDS = 60
AGAIN_LATER = 75


class Gate:
    """Stops whoever asks for one name until it is opened."""

    def __init__(self, name: str) -> None:
        self.name, self.reached, self.opened = name, threading.Event(), threading.Event()


@contextmanager
def slow_server(folder: Path, gate: Gate) -> Iterator[str]:
    """Its URL."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if gate.name in self.path:
                gate.reached.set()
                gate.opened.wait(SECONDS)
            super().do_GET()

        def log_message(self, *_: object) -> None: ...

    with served(Handler) as url:
        try:
            yield url
        finally:
            gate.opened.set()


def test_an_unpack_undoes_nothing_that_another_completed_meanwhile(tmp_path: Path) -> None:
    depot, host = TestDepot(tmp_path / "depot"), Host(tmp_path / "root")
    release, node, key = depot.release(), tmp_path / "node.pyz", tmp_path / "key.pub"
    node.write_bytes(node_file())
    key.write_text(SIGNER.public)
    layers = json.loads((depot.folder / f"releases/{release}.json").read_bytes())

    def command(place: str) -> list[str]:
        words = ["unpack", release, "--depot", place, "--key", str(key), "--root", str(host.root)]
        return [sys.executable, str(node), *words]

    gate = Gate(f"manifests/{layers['app']}")
    with slow_server(depot.folder, gate) as url:
        slow = subprocess.Popen(command(url), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with slow:
            assert gate.reached.wait(SECONDS)  # it knows its environment, and not yet the rest
            fast = subprocess.run(command(str(depot.folder)), capture_output=True, check=False)
            tree = host.layer("env", layers["env"])
            held = os.open(tree, os.O_RDONLY) if tree.exists() else None
            gate.opened.set()
            said = slow.communicate(timeout=SECONDS)
    assert slow.returncode == 0, said

    if held is None:  # it was told to wait
        assert fast.returncode == AGAIN_LATER
    else:
        kept = os.fstat(held).st_nlink > 0
        os.close(held)
        assert kept, "the tree that was complete was removed and written again"
    assert host.placed("env", layers["env"]) == tree
