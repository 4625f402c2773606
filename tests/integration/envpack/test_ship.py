"""A depot goes to a folder, through rsync and a real sshd, and into an S3 bucket."""

from __future__ import annotations

import getpass
import io
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio import Minio

from envpack.node.errors import NotThere, NotTrusted, Unreachable, Unsuitable
from envpack.node.settings import bucket_server
from envpack.pack.bucket import Bucket
from envpack.pack.destinations import Folder, Host, destination
from envpack.pack.ship import Destination, Item, Shipped, needed, ship, whole
from tests.envpack_depot import Content, TestDepot, digest_of
from tests.services import eventually
from worker.supervisor.child import free_port

WEIGHTS = b"weights " * 40_000
#: Where they lie in a depot.
FILE = f"files/{digest_of(WEIGHTS)}"
#: While they come into a folder.
PART = f"files/.{digest_of(WEIGHTS)}.part"


def add_release(folder: Path, counter: int = 1, env: bytes = b"env " * 50_000) -> str:
    """A release with a report, as packing leaves it; its digest."""
    depot = TestDepot(folder)
    layer = depot.layer("env", Content(files={"a": (env, 0o644)}))
    model = depot.layer("model", Content(files={"weights.bin": (WEIGHTS, 0o644)}))
    depot.put(f"reports/{layer}/sbom.cdx.json", b"{}")
    return depot.release(counter, env=layer, model=model)


def content(folder: Path) -> dict[str, bytes]:
    """What a reader sees: parts in progress are no part of a depot."""
    return {path: (folder / path).read_bytes() for path in whole(folder)}


@pytest.fixture
def depot(tmp_path: Path) -> Path:
    folder = tmp_path / "depot"
    add_release(folder)
    return folder


# ---- to a folder


def test_a_folder_holds_the_same_depot_afterwards(depot: Path, tmp_path: Path) -> None:
    shipped = ship(depot, Folder(tmp_path / "far"))

    assert content(tmp_path / "far") == content(depot)
    assert shipped.sent == shipped.files == len(whole(depot))


def test_shipped_again_nothing_goes(depot: Path, tmp_path: Path) -> None:
    ship(depot, Folder(tmp_path / "far"))

    assert ship(depot, Folder(tmp_path / "far")).sent_bytes == 0


def test_a_new_release_brings_only_what_is_new(depot: Path, tmp_path: Path) -> None:
    ship(depot, Folder(tmp_path / "far"))
    add_release(depot, counter=2, env=b"patched")

    shipped = ship(depot, Folder(tmp_path / "far"))

    # env's archive, manifest, report, document and release, two of them with signatures
    assert shipped.sent == 7
    assert shipped.sent_bytes < 3_000
    assert content(tmp_path / "far") == content(depot)


def test_one_release_goes_without_the_others(depot: Path, tmp_path: Path) -> None:
    other = add_release(depot, counter=2, env=b"patched")

    ship(depot, Folder(tmp_path / "far"), release=other)

    assert set(content(tmp_path / "far")) == set(needed(depot, other))
    assert len(list((tmp_path / "far" / "releases").glob("*.json"))) == 1


def test_at_every_moment_a_release_that_is_seen_is_whole(depot: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    seen: list[list[str]] = []

    def look(_: Item) -> None:
        releases = list((far / "releases").glob("*.json")) if far.exists() else []
        seen.extend(needed(far, one.stem) for one in releases)

    ship(depot, Watched(Folder(far), look))

    assert len(seen) == 1  # and none of the looks has raised


class Watched:
    """Sends one file at a time, and looks after each."""

    def __init__(self, inner: Destination, look: Callable[[Item], None]) -> None:
        self._inner, self._look, self.where = inner, look, inner.where

    def send(self, depot: Path, items: Sequence[Item]) -> list[Item]:
        sent: list[Item] = []
        for item in items:
            sent += self._inner.send(depot, [item])
            self._look(item)
        return sent


def test_a_signature_is_there_before_what_it_signs(depot: Path, tmp_path: Path) -> None:
    order: list[str] = []

    ship(depot, Folder(tmp_path / "far"), each=lambda item: order.append(item.path))

    for path in order:
        if f"{path}.minisig" in order:
            assert order.index(f"{path}.minisig") < order.index(path)
    assert order[-1].startswith("releases/")


def test_half_a_file_is_continued(depot: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    TestDepot(far).put(PART, WEIGHTS[:100_000])
    inode = (far / PART).stat().st_ino

    ship(depot, Folder(far))

    assert (far / FILE).read_bytes() == WEIGHTS
    assert (far / FILE).stat().st_ino == inode


def test_half_of_something_else_is_not(depot: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    TestDepot(far).put(PART, b"x" * 100_000)

    ship(depot, Folder(far))

    assert (far / FILE).read_bytes() == WEIGHTS


def test_a_document_that_has_grown_is_brought_again(depot: Path, tmp_path: Path) -> None:
    ship(depot, Folder(tmp_path / "far"))
    document = next((depot / "layers").glob("*.json"))
    document.write_bytes(document.read_bytes()[::-1])  # of the same size

    assert ship(depot, Folder(tmp_path / "far")).sent == 1
    assert content(tmp_path / "far") == content(depot)


def test_two_who_ship_the_same_do_not_harm_each_other(depot: Path, tmp_path: Path) -> None:
    gate, shipped = threading.Barrier(4), []

    def once() -> None:
        gate.wait(10)
        shipped.append(ship(depot, Folder(tmp_path / "far")))

    threads = [threading.Thread(target=once) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(shipped) == 4
    assert content(tmp_path / "far") == content(depot)


# ---- what does not go


@pytest.mark.parametrize("kind", ["folder", "host", "bucket"])
def test_a_file_that_is_not_what_its_name_says_does_not_arrive(
    depot: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    far = request.getfixturevalue(kind)
    TestDepot(depot).put(FILE, WEIGHTS[:-1] + b"!")

    with pytest.raises(NotTrusted, match=FILE):
        ship(depot, far)
    TestDepot(depot).put(FILE, WEIGHTS)
    assert FILE in {item.path for item in _sent(depot, far)}


def _sent(depot: Path, far: Destination) -> list[Item]:
    went: list[Item] = []
    ship(depot, far, each=went.append)
    return went


def test_a_release_that_lacks_a_file_is_not_begun(depot: Path, tmp_path: Path) -> None:
    (depot / FILE).unlink()
    (release,) = (depot / "releases").glob("*.json")

    with pytest.raises(NotThere, match=r"lacks files/"):
        ship(depot, Folder(tmp_path / "far"), release=release.stem)
    assert not (tmp_path / "far").exists()


def test_an_empty_folder_is_no_depot(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="nothing to ship"):
        ship(tmp_path, Folder(tmp_path / "far"))


# ---- to a host


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """An ssh server of our own; the words that reach it."""
    daemon: str = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(daemon).exists() or not shutil.which("rsync"):
        pytest.skip("needs rsync and openssh-server")
    home = tmp_path_factory.mktemp("sshd")
    for key in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / key)]
        subprocess.run(words, check=True)
    shutil.copy(home / "user.pub", home / "authorized")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # which it asks for as root alone
    port = free_port()
    options = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": home / "host",
        "AuthorizedKeysFile": home / "authorized",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
    }
    (home / "config").write_text("".join(f"{key} {value}\n" for key, value in options.items()))
    words = [str(daemon), "-D", "-e", "-f", str(home / "config")]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as server:
        eventually(lambda: _listens(port))
        client = ("-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no")
        quiet = ("-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes")
        yield ("ssh", "-p", str(port), "-i", str(home / "user"), *client, *quiet)
        server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def host(sshd: tuple[str, ...], tmp_path: Path) -> Host:
    return Host(f"{getpass.getuser()}@127.0.0.1", str(tmp_path / "far side"), ssh=sshd)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "far")


def test_a_host_holds_the_same_depot_afterwards(depot: Path, host: Host) -> None:
    shipped = ship(depot, host)

    assert content(Path(host.folder)) == content(depot)
    assert shipped.sent == shipped.files
    assert ship(depot, host).sent == 0


def test_what_a_host_has_of_a_file_is_continued(depot: Path, host: Host) -> None:
    far = Path(host.folder)
    TestDepot(far).put(f"files/.part/{digest_of(WEIGHTS)}", WEIGHTS[:100_000])

    ship(depot, host)

    assert content(far) == content(depot)
    assert not (far / "files" / ".part").exists()


def test_what_lies_on_a_host_is_compared_there(depot: Path, host: Host) -> None:
    TestDepot(depot).put(FILE, WEIGHTS[:-1] + b"!")

    with pytest.raises(NotTrusted, match="it was removed there"):
        ship(depot, host)
    assert not (Path(host.folder) / FILE).exists()
    assert not (Path(host.folder) / "releases").exists()


def test_a_host_that_does_not_answer_is_named(depot: Path, sshd: tuple[str, ...]) -> None:
    words = list(sshd)
    words[2] = "1"

    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:/x"):
        ship(depot, Host("127.0.0.1", "/x", ssh=words))


# ---- to a bucket


@pytest.fixture
def bucket(s3_url: str, request: pytest.FixtureRequest) -> Bucket:
    parts = urlsplit(s3_url)
    server = bucket_server({"PACKSHOT_DEPOT_S3_URL": s3_url})
    name = parts.path.strip("/")
    client = _client(s3_url)
    if not client.bucket_exists(name):
        client.make_bucket(name)
    return Bucket(server, name, f"depots/{request.node.name[:40].strip('[]_')}")


def _client(s3_url: str) -> Minio:
    server = bucket_server({"PACKSHOT_DEPOT_S3_URL": s3_url})
    place = urlsplit(server.url)
    return Minio(
        place.netloc,
        access_key=server.access,
        secret_key=server.secret,
        secure=place.scheme == "https",
        region=server.region,
    )


def test_a_bucket_holds_the_same_depot_afterwards(depot: Path, bucket: Bucket, s3_url: str) -> None:
    shipped = ship(depot, bucket)

    client, (name, _, prefix) = _client(s3_url), bucket.where.split("/", 3)[3].partition("/")
    found = {
        str(one.object_name).removeprefix(f"{prefix}/"): client.get_object(
            name, str(one.object_name)
        ).read()
        for one in client.list_objects(name, f"{prefix}/", recursive=True)
    }
    assert found == content(depot)
    assert shipped.sent == shipped.files
    assert ship(depot, bucket).sent == 0


def test_an_object_of_other_content_is_replaced(depot: Path, bucket: Bucket, s3_url: str) -> None:
    ship(depot, bucket)
    name, _, prefix = bucket.where.split("/", 3)[3].partition("/")
    key = f"{prefix}/{FILE}"
    _client(s3_url).put_object(name, key, io.BytesIO(b"other"), 5)

    assert ship(depot, bucket).sent == 1
    assert _client(s3_url).get_object(name, key).read() == WEIGHTS


def test_a_bucket_that_is_not_there_is_named(depot: Path, s3_url: str) -> None:
    server = bucket_server({"PACKSHOT_DEPOT_S3_URL": s3_url})

    with pytest.raises(NotThere, match=r"s3://.*/absent: no such bucket"):
        ship(depot, Bucket(server, "absent", ""))


# ---- naming a destination


def test_a_destination_is_known_by_its_spelling(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PACKSHOT_DEPOT_S3_URL", "https://me:word@s3.example:9000")

    assert destination("ops@gpu-7:/srv/depot").where == "ops@gpu-7:/srv/depot"
    assert destination("s3://releases/worker").where == "s3://s3.example:9000/releases/worker"
    assert destination(str(tmp_path)).where == str(tmp_path)
    assert destination("out/depot").where == "out/depot"


@pytest.mark.parametrize("text", ["gpu-7:relative", "http://a/b", "-oProxyCommand=x:/y"])
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(Unsuitable, match="HOST:/FOLDER"):
        destination(text)


@pytest.mark.parametrize("url", ["", "s3.example", "https://s3.example", "https://me@s3.example"])
def test_a_setting_without_keys_is_named_and_not_shown(url: str) -> None:
    with pytest.raises(Unsuitable, match=r"^PACKSHOT_DEPOT_S3_URL: not set to"):
        bucket_server({"PACKSHOT_DEPOT_S3_URL": url})


def test_an_answer_is_json() -> None:
    shipped = Shipped(where="far", files=2, sent=1, sent_bytes=5)

    assert json.loads(json.dumps(shipped.as_json()))["sent_bytes"] == 5
