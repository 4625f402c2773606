"""What keeps a layer or a release, where it alone says that a process uses it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from envpack.node.activate import activate
from envpack.node.host import Host
from envpack.node.prune import is_locked, prune
from tests.envpack_depot import ENV, Content, TestDepot
from tests.unit.envpack.node.scenes import app_of, releases, unpacked

#: Maps the file that its first line names; neither its words nor its folder name it.
MAPPING = """
import mmap, sys
with open(sys.stdin.readline().strip(), "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
print(flush=True)
sys.stdin.readline()
"""


@contextmanager
def running(
    command: Sequence[str], first: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Until the end of what it says first, and then until its stdin ends."""
    with subprocess.Popen(
        command,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{first}\n" if first else "")
        process.stdin.flush()
        process.stdout.readline()
        yield
        process.stdin.close()


def test_a_map_alone_keeps_a_layer(host: Host, depot: TestDepot) -> None:
    env = depot.layer("env", Content(files={**ENV.files, "lib/own": (b"x", 0o644)}))
    old, new = depot.release(1, env=env), depot.release(2, app=app_of(depot, 2))
    for digest in (old, new):
        unpacked(host, depot, digest)
    activate(host, new)
    mapped = host.layer("env", env) / "lib/own"

    with running([sys.executable, "-c", MAPPING], str(mapped)):
        assert f"env/{env}" in prune(host, keep=0).in_use
        assert mapped.exists()
    assert f"env/{env}" in prune(host, keep=0).layers


def test_a_program_of_a_release_holds_its_lock_while_it_lives(host: Host, depot: TestDepot) -> None:
    # The only sign of life of another user's process.
    (digest,) = releases(host, depot, 1)
    program = host.release_folder(digest) / "bin/packshot-worker"

    with running([str(program), "run"], environment={"PACKSHOT_TEST_WAIT": "1"}):
        assert is_locked(host.release_folder(digest))
    assert not is_locked(host.release_folder(digest))
