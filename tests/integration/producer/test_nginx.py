"""The proxy that production puts before the API: nginx itself, before a real API."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from producer.api.limits import MAX_BODY_BYTES, TOO_LARGE
from producer.api.problems import MEDIA_TYPE
from tests.integration.producer.serving import Served, photo
from tests.services import eventually
from worker.supervisor.child import free_port

CONF: Final = Path(__file__).parents[3] / "deploy" / "nginx" / "packshot.conf"
LOGIN: Final = ("shop", "secret")
HOST: Final = "127.0.0.1"

NGINX: Final = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A running nginx with our file, and who may pass it."""

    http: httpx.Client
    stranger: httpx.Client


def certificate(folder: Path) -> Path:
    """For this machine, by itself; the key lies beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(HOST))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "fullchain.pem"


def configured(folder: Path, *, port: int, api: int) -> Path:
    """Our file with this machine's addresses and folders, inside what a distribution's has."""
    text = CONF.read_text("utf-8")
    for ours, here in (
        ("server 127.0.0.1:8000;", f"server {HOST}:{api};"),
        ("listen 443 ssl", f"listen {HOST}:{port} ssl"),
        ("/etc/packshot/tls/", f"{folder}/"),
        ("/etc/packshot/callers", f"{folder}/callers"),
    ):
        assert ours in text
        text = text.replace(ours, here)
    (folder / "packshot.conf").write_text(text, "utf-8")
    (folder / "callers").write_text("{}:{{PLAIN}}{}\n".format(*LOGIN))
    folders = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = folder / "nginx.conf"
    whole.write_text(
        f"pid {folder}/pid;\nerror_log {folder}/log;\ndaemon off;\nworker_processes 1;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{folders}include {folder}/packshot.conf;\n}}\n"
    )
    return whole


@contextmanager
def proxy_of(folder: Path, api: int) -> Iterator[Proxy]:
    assert NGINX is not None
    port, chain = free_port(), certificate(folder)
    whole = configured(folder, port=port, api=api)
    process = subprocess.Popen([NGINX, "-p", folder, "-c", whole])
    trust = ssl.create_default_context(cafile=chain)
    where = f"https://{HOST}:{port}"
    try:
        with (
            httpx.Client(base_url=where, verify=trust, auth=LOGIN, timeout=30) as http,
            httpx.Client(base_url=where, verify=trust, timeout=30) as stranger,
        ):

            def answers() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    return http.get("/").status_code > 0
                except httpx.TransportError:
                    return False

            eventually(answers)
            yield Proxy(http=http, stranger=stranger)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("nginx")
    for one in made.parents[:2]:
        one.chmod(0o755)  # nginx' own user reads the callers, and writes what it puts aside
    made.chmod(0o777)
    return made


@pytest.fixture(scope="module")
def proxy(served: Served, folder: Path) -> Iterator[Proxy]:
    port = urlsplit(str(served.http.base_url)).port
    assert port is not None
    with proxy_of(folder, port) as proxy:
        yield proxy


def told(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem as the API's own are."""
    body = answer.json()
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert body["type"] == f"urn:packshot:problem:{body['code']}"
    assert body["status"] == answer.status_code
    assert set(body) >= {"title", "detail"}
    return answer.status_code, body["code"]


def test_who_may_submits_asks_and_is_answered_by_the_api(proxy: Proxy, api: Served) -> None:
    accepted = proxy.http.post(
        "/v1/edits",
        files={"image": ("mug.png", photo())},
        data={"instruction": "make it red"},
        headers={"Idempotency-Key": "k"},
    )
    path = accepted.headers["location"]
    asked = proxy.http.get(path)
    unchanged = proxy.http.get(path, headers={"If-None-Match": asked.headers["etag"]})

    assert (accepted.status_code, asked.status_code, unchanged.status_code) == (202, 200, 304)
    assert api.http.get(path).json()["id"] == asked.json()["id"]
    assert told(proxy.http.get("/v1/edits/none")) == (422, "invalid_request")
    assert proxy.http.get("/docs").status_code == 200


def test_who_may_not_is_told_so_and_passes_nowhere(proxy: Proxy) -> None:
    for path in ("/v1/edits", "/docs", "/openapi.json", "/"):
        refused = proxy.stranger.get(path)

        assert told(refused) == (401, "unauthorized")
        assert refused.headers.get_list("www-authenticate") == ['Basic realm="Packshot"']
    assert told(proxy.stranger.get("/", auth=("shop", "guess"))) == (401, "unauthorized")


def test_the_probes_are_for_this_machine(proxy: Proxy) -> None:
    assert proxy.stranger.get("/livez").status_code == 200
    assert proxy.stranger.get("/readyz").status_code == 200


def test_a_request_that_is_too_large_is_refused_as_by_the_api(proxy: Proxy) -> None:
    size = MAX_BODY_BYTES + 1
    answer = proxy.http.post(
        "/v1/edits",
        headers={"Content-Length": str(size), "Content-Type": "multipart/form-data"},
        content=(bytes(min(size - at, 2**20)) for at in range(0, size, 2**20)),
    )

    assert told(answer) == (413, "too_large")
    assert answer.json()["detail"] == TOO_LARGE


def test_who_asks_too_often_is_told_when_to_ask_again(proxy: Proxy) -> None:
    def ask(_: int) -> httpx.Response:
        return proxy.stranger.get("/livez", auth=("greedy", ""))

    with ThreadPoolExecutor(16) as pool:
        answers = [one for one in pool.map(ask, range(4_000)) if one.status_code != 200]

    assert {told(one) for one in answers} == {(429, "too_often")}
    assert answers[0].headers["retry-after"] == "1"
    assert proxy.http.get("/v1/edits").status_code == 200  # another caller's requests


def test_an_api_that_is_away_is_told_as_its_own_outages_are(folder: Path) -> None:
    below = folder / "away"
    below.mkdir(mode=0o777)
    below.chmod(0o777)
    with proxy_of(below, free_port()) as proxy:
        answer = proxy.http.get("/v1/edits")

    assert told(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"
