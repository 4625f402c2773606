from __future__ import annotations

import io
import os
import secrets
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from time import monotonic

import psycopg
import pytest
import redis
import urllib3
from minio import Minio
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.errors import BadSettings, Unavailable
from standalone import postgres
from standalone.postgres import PostgresServer
from standalone.process import ChildServer
from standalone.servers import Servers
from tests.services import eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
NAMES = ("postgres", "redis", "s3")
QUICK = timedelta(seconds=0.3)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers") / "data"


@pytest.fixture(scope="module")
def parents_at_first(data_dir: Path) -> dict[Path, tuple[int, int, int]]:
    return modes_and_owners(data_dir)


@pytest.fixture(scope="module")
def servers(
    data_dir: Path, parents_at_first: dict[Path, tuple[int, int, int]]
) -> Iterator[Servers]:
    assert parents_at_first
    with Servers(data_dir) as running:
        s3_of(running).make_bucket("packshot")
        yield running
    running.erase()


@pytest.fixture
def server(servers: Servers, request: pytest.FixtureRequest) -> ChildServer:
    found = getattr(servers, request.param)
    assert isinstance(found, ChildServer)
    return found


each_server = pytest.mark.parametrize("server", NAMES, indirect=True)


def modes_and_owners(data_dir: Path) -> dict[Path, tuple[int, int, int]]:
    folders = {*data_dir.parents, *Path(postgres.__file__).parents, *Path(sys.prefix).parents}
    return {
        folder: (found.st_mode, found.st_uid, found.st_gid)
        for folder, found in ((folder, folder.stat()) for folder in folders)
    }


def s3_of(servers: Servers) -> Minio:
    return Minio(
        f"127.0.0.1:{servers.s3.port}",
        access_key=servers.s3.keys.access,
        secret_key=servers.s3.keys.secret,
        secure=False,
        region="us-east-1",
        http_client=urllib3.PoolManager(retries=False, timeout=3.0),
    )


def write(servers: Servers, value: str) -> None:
    with psycopg.connect(servers.postgres.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])
    with redis.Redis.from_url(servers.redis.url) as client:
        client.set("kept", value)
    s3_of(servers).put_object("packshot", "kept", io.BytesIO(value.encode()), len(value))


def read(servers: Servers) -> tuple[str, str, str]:
    with psycopg.connect(servers.postgres.url) as connection:
        row = connection.execute("SELECT value FROM kept ORDER BY ctid DESC").fetchone()
    with redis.Redis.from_url(servers.redis.url, decode_responses=True) as client:
        value = client.get("kept")
    assert row is not None
    return row[0], str(value), s3_of(servers).get_object("packshot", "kept").data.decode()


def ask(server: ChildServer) -> None:
    """Raises whatever the client makes of silence."""
    if isinstance(server, PostgresServer):
        psycopg.connect(server.url, connect_timeout=2).close()
    else:
        # Either answers something to this, be it a refusal.
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            connection.recv(1)


def family(pid: int) -> list[int]:
    """The process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


def pids_of(servers: Servers) -> list[int]:
    pids = [server.pid for server in (servers.postgres, servers.redis, servers.s3)]
    return [pid for pid in pids if pid is not None]


def test_nobody_gets_in_without_the_credentials(servers: Servers) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(servers.postgres.url.replace(servers.postgres.password, "guess"))
    with (
        redis.Redis(port=servers.redis.port, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    for path in ("", "packshot", "packshot/kept"):
        answer = urllib3.request("GET", f"http://127.0.0.1:{servers.s3.port}/{path}")

        assert answer.status == 403


def test_what_lies_behind_the_s3_server_is_locked_too(servers: Servers) -> None:
    write(servers, "secret")
    filer = f"http://127.0.0.1:{servers.s3.inner_ports['filer.port']}"

    read_past = urllib3.request("GET", f"{filer}/buckets/packshot/kept")
    write_past = urllib3.request("PUT", f"{filer}/buckets/x")

    assert read_past.status == 401
    assert write_past.status == 401


def test_a_big_object_comes_back_by_a_presigned_link(servers: Servers) -> None:
    body = secrets.token_bytes(9_000_000)
    s3_of(servers).put_object("packshot", "big", io.BytesIO(body), len(body))

    link = s3_of(servers).presigned_get_object("packshot", "big", timedelta(minutes=1))

    assert urllib3.request("GET", link).data == body


def open_files(pid: int) -> Iterator[str]:
    """What its descriptors lead to; one may be closed while they are looked at."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield str(link.readlink())


@on_linux
def test_nothing_listens_off_loopback(servers: Servers) -> None:
    inodes = {file for pid in pids_of(servers) for file in open_files(pid)}
    listening = [
        fields[1]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes
    ]

    assert len(listening) == 12
    assert {address.split(":")[0] for address in listening} == {"0100007F"}


@on_linux
def test_no_secret_shows_in_the_process_table_or_to_other_users(
    servers: Servers, data_dir: Path
) -> None:
    commands = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids_of(servers))
    keys = servers.s3.keys
    secret = {servers.postgres.password, servers.redis.password, keys.access, keys.secret}
    files = [data_dir / "keys.json", data_dir / "redis", data_dir / "s3"]

    assert len(secret) == 4
    assert not [value for value in secret if value in commands]
    assert [stat.S_IMODE(file.stat().st_mode) & 0o077 for file in files] == [0, 0, 0]


def test_a_start_leaves_all_folders_above_as_they_were(
    servers: Servers, data_dir: Path, parents_at_first: dict[Path, tuple[int, int, int]]
) -> None:
    assert servers.postgres.is_running
    assert modes_and_owners(data_dir) == parents_at_first


@each_server
def test_the_terminals_interrupt_does_not_reach_a_server(server: ChildServer) -> None:
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid


def test_data_ports_and_credentials_are_found_again(servers: Servers, data_dir: Path) -> None:
    write(servers, "one")
    before = servers.environment()
    servers.stop()

    with Servers(data_dir) as again:
        assert again.environment() == before
        assert read(again) == ("one", "one", "one")
    servers.start()

    assert read(servers) == ("one", "one", "one")


@each_server
def test_a_killed_server_starts_again_with_its_data(server: ChildServer, servers: Servers) -> None:
    write(servers, "two")
    # Redis writes to its file at once and to the disk each second: a kill loses nothing.
    before = server.url, server.pid
    server.kill()

    assert not server.is_running
    server.start()

    assert (server.url, server.pid is None) == (before[0], False)
    assert server.pid != before[1]
    assert read(servers) == ("two", "two", "two")


@each_server
def test_a_server_that_ended_by_itself_is_started_again(
    server: ChildServer, servers: Servers
) -> None:
    write(servers, "four")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: not server.is_running)

    assert servers.revive() == [server.name]
    assert servers.revive() == []
    assert read(servers) == ("four", "four", "four")


@on_linux
@each_server
def test_a_paused_server_keeps_silent_until_resumed(server: ChildServer) -> None:
    assert server.pid is not None
    server.pause()
    try:
        states = {
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            for pid in family(server.pid)
        }
        with pytest.raises((TimeoutError, psycopg.errors.ConnectionTimeout)):
            ask(server)
    finally:
        server.resume()

    assert states == {"T"}
    assert server.is_running
    ask(server)


def test_a_paused_server_can_be_stopped(servers: Servers) -> None:
    servers.redis.pause()
    started = monotonic()
    servers.redis.stop()

    assert monotonic() - started < servers.redis.stop_timeout.total_seconds()
    servers.redis.start()
    ask(servers.redis)


def test_a_port_taken_meanwhile_is_replaced(servers: Servers, data_dir: Path) -> None:
    write(servers, "three")
    servers.stop()
    with socket.create_server(("127.0.0.1", servers.s3.port)), Servers(data_dir) as moved:
        assert moved.s3.port != servers.s3.port
        assert moved.redis.port == servers.redis.port
        assert read(moved) == ("three", "three", "three")
    # Ours still stands for the port that it had, and that is free again.
    servers.start()

    assert read(servers) == ("three", "three", "three")


@pytest.mark.parametrize("name", ["Postgres", "Redis", "S3"])
def test_a_named_port_that_is_taken_is_refused(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {f"{name.lower()}_port": port}
        with pytest.raises(BadSettings, match=f"port {port}, named for {name}, is taken"):
            Servers(tmp_path, **ports).start()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BadSettings, match="file/data cannot keep the data: Not a directory"):
        Servers(tmp_path / "file" / "data").start()


def test_a_folder_in_use_is_refused(
    servers: Servers, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("standalone.servers._LOCK_TIMEOUT", QUICK)

    with pytest.raises(Unavailable, match="run already"):
        Servers(data_dir).start()
    ask(servers.redis)


def test_if_one_fails_none_runs_and_the_error_says_which(tmp_path: Path) -> None:
    broken = tmp_path / "redis" / "data" / "appendonlydir"
    broken.mkdir(parents=True)
    (broken / "appendonly.aof.manifest").write_text("nonsense\n")
    servers = Servers(tmp_path)

    with pytest.raises(Unavailable, match=r"Redis on 127.0.0.1:\d+ ended with exit code 1") as told:
        servers.start()

    assert str(tmp_path / "redis" / "server.log") in str(told.value)
    assert "nonsense" in str(told.value)
    running = [servers.postgres.is_running, servers.redis.is_running, servers.s3.is_running]
    assert running == [False, False, False]
    servers.erase()
