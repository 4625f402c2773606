"""The artifact store over a real server, and over servers that are none."""

from __future__ import annotations

import secrets
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from urllib.parse import urlsplit

import pytest
import urllib3

from jobs.errors import Unavailable
from jobs.model import ArtifactKey
from jobs.s3 import S3Store
from tests.faults.proxy import Mode, Proxy
from tests.services import eventually, refused_port

KEY = ArtifactKey("default/inputs/shirt")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(s3_url: str) -> S3Store:
    store = S3Store.from_url(s3_url)
    store.make_bucket()
    return store


@pytest.fixture
def missing(s3_url: str) -> S3Store:
    """A store whose bucket nobody has made."""
    return S3Store.from_url(elsewhere(s3_url, bucket=f"missing-{secrets.token_hex(6)}"))


def elsewhere(
    url: str, *, bucket: str | None = None, secret: str | None = None, access: str | None = None
) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    credentials = f"{access or parts.username}:{secret or parts.password}"
    return f"{parts.scheme}://{credentials}@{host}/{bucket or parts.path.strip('/')}"


def fetch(url: str) -> urllib3.BaseHTTPResponse:
    """As a browser would: without credentials."""
    with urllib3.PoolManager(retries=False) as anybody:
        return anybody.request("GET", url)


# ---- links


def test_anybody_can_download_by_a_link(store: S3Store) -> None:
    store.put(KEY, b"pixels", media_type="image/webp")

    answer = fetch(store.link(KEY, expires=MINUTE))

    assert (answer.status, answer.data) == (200, b"pixels")
    assert answer.headers["Content-Type"] == "image/webp"


def test_nobody_can_download_without_one(store: S3Store) -> None:
    store.put(KEY, b"pixels", media_type="image/webp")
    link = store.link(KEY, expires=MINUTE)

    assert fetch(link.partition("?")[0]).status == 403
    assert fetch(link.replace("shirt", "other")).status == 403


@pytest.mark.parametrize("name", ["mug.png", 'a "quoted" name.png', "衫 1.png", "a\r\nb.png"])
def test_a_link_names_the_file_that_a_browser_saves(store: S3Store, name: str) -> None:
    store.put(KEY, b"pixels", media_type="image/png")

    answer = fetch(store.link(KEY, expires=MINUTE, download_as=name))

    disposition = answer.headers["Content-Disposition"]
    assert answer.status == 200
    assert disposition.startswith("attachment; filename*=UTF-8''")
    assert '"' not in disposition


# ---- refusals


@pytest.mark.parametrize("wrong", [{"secret": "wrong-secret"}, {"access": "nobody"}])
def test_wrong_credentials_are_told_without_repeating_them(
    s3_url: str, wrong: dict[str, str]
) -> None:
    store = S3Store.from_url(elsewhere(s3_url, **wrong))

    with pytest.raises(Unavailable, match=r"SignatureDoesNotMatch|InvalidAccessKeyId") as caught:
        store.put(KEY, b"pixels", media_type="image/png")

    assert store.where in str(caught.value)
    assert "wrong-secret" not in str(caught.value)


def test_a_missing_bucket_is_told_with_its_remedy(missing: S3Store) -> None:
    # Not for ``put``: SeaweedFS makes the bucket then.
    remedy = "NoSuchBucket: run 'packshot init'"

    with pytest.raises(Unavailable, match=remedy):
        missing.get(KEY)
    with pytest.raises(Unavailable, match=remedy):
        missing.exists(KEY)
    with pytest.raises(Unavailable, match=remedy):
        list(missing.keys("default/"))
    with pytest.raises(Unavailable, match=remedy):
        missing.delete([KEY])


def test_a_bucket_can_be_made_by_two_at_once(missing: S3Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(missing.make_bucket) for _ in range(4)]:
            done.result(timeout=30)
    missing.make_bucket()

    assert not missing.exists(KEY)
    missing.client.remove_bucket(missing.bucket)


# ---- outages


def test_a_refused_port_is_told_in_a_few_seconds() -> None:
    with refused_port() as port:
        store = S3Store.from_url(f"http://access:secret@127.0.0.1:{port}/packshot")
        began = monotonic()
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port}/packshot does not answer"):
            store.get(KEY)

    assert monotonic() - began < 5


@contextmanager
def answering(
    status: int, body: bytes, *, media_type: str = "image/png", size: int | None = None
) -> Iterator[S3Store]:
    """A store whose server gives everybody this answer, with whatever size it claims."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body) if size is None else size))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_POST = answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield S3Store.from_url(f"http://access:secret@127.0.0.1:{server.server_port}/packshot")
        finally:
            server.shutdown()


def test_a_download_that_breaks_off_is_no_picture() -> None:
    with (
        answering(200, b"half a pict", size=1_000) as store,
        pytest.raises(Unavailable, match="ProtocolError"),
    ):
        store.get(KEY)


def test_a_server_that_stays_busy_is_unavailable() -> None:
    with answering(503, b"") as store, pytest.raises(Unavailable, match="too many 503"):
        store.get(KEY)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (409, "ConditionalRequestConflict"),
        (412, "PreconditionFailed"),
        (500, "InternalError"),
        (503, "SlowDown"),
    ],
)
def test_an_upload_that_is_refused_for_now_is_unavailable(status: int, code: str) -> None:
    """Whoever uploads tries again: each attempt has a key of its own, so there is no winner."""
    told = f"<Error><Code>{code}</Code><Message>why</Message></Error>".encode()
    with (
        answering(status, told, media_type="application/xml") as store,
        pytest.raises(Unavailable, match=f"{code}|too many {status}"),
    ):
        store.put(KEY, b"pixels", media_type="image/png")


def test_a_large_picture_goes_up_without_a_second_copy_in_memory(store: S3Store) -> None:
    data, key = secrets.token_bytes(24 * 2**20), ArtifactKey("default/inputs/large")
    tracemalloc.start()
    try:
        store.put(key, data, media_type="image/png")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < len(data) / 8
    assert store.get(key) == data


def test_an_upload_that_is_cut_leaves_no_half_object(s3_url: str, store: S3Store) -> None:
    key = ArtifactKey(f"cut-{secrets.token_hex(4)}/outputs/1.png")
    port = urlsplit(s3_url).port
    assert port is not None
    with Proxy(port) as proxy:
        through = S3Store.from_url(proxy.url(s3_url))
        proxy.held_back = b"the second half"
        halves = b"the first half" * 200_000 + b"the second half" * 200_000
        with ThreadPoolExecutor(1) as pool:
            upload = pool.submit(through.put, key, halves, media_type="image/png")
            eventually(lambda: bool(proxy.links()))
            threading.Event().wait(0.5)  # the first half is on its way
            proxy.mode = Mode.CUT
            proxy.ended.set()

            assert isinstance(upload.exception(timeout=60), Unavailable)

    assert not store.exists(key)


@pytest.mark.parametrize("media_type", ["text/html", "application/xml"])
@pytest.mark.parametrize("status", [404, 418])
def test_what_is_no_s3_server_is_said_so(status: int, media_type: str) -> None:
    page = b"<html><p>404: what you look for is not here</html>"
    with (
        answering(status, page, media_type=media_type) as store,
        pytest.raises(Unavailable, match="no answer of S3's"),
    ):
        store.get(KEY)


@pytest.mark.parametrize("page", [b"<html><p>welcome</html>", b"<html>welcome</html>"])
def test_a_page_that_is_no_listing_is_said_so(page: bytes) -> None:
    with (
        answering(200, page, media_type="application/xml") as store,
        pytest.raises(Unavailable, match="no answer of S3's"),
    ):
        list(store.keys("default/"))
