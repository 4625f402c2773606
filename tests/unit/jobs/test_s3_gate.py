"""Every error of the S3 client's libraries leaves the store as one of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3 import exceptions

from jobs.errors import BadSettings, NoSuchArtifact, Unavailable
from jobs.model import ArtifactKey
from jobs.s3 import S3Store

KEY: Final = ArtifactKey("default/inputs/shirt")


def s3_error(code: str) -> S3Error:
    return S3Error(urllib3.HTTPResponse(status=400), code, "why", None, None, None)


MINIO: Final = [
    MinioException("odd"),
    ServerError("server failed", 500),
    InvalidResponseError(200, "text/html", "<html>"),
    s3_error("AccessDenied"),
    s3_error("SlowDown"),
]


class Failing(urllib3.PoolManager):
    """A way to a server on which one thing always goes wrong."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def urlopen(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        raise self.error


def store_with(error: Exception) -> S3Store:
    client = Minio(
        "host", access_key="a", secret_key="b", region="us-east-1", http_client=Failing(error)
    )
    return S3Store(client, "packshot", "host/packshot")


def http_errors(root: type[Exception] = exceptions.HTTPError) -> list[type[Exception]]:
    below = [one for child in root.__subclasses__() for one in http_errors(child)]
    return [root, *below]


def made(kind: type[Exception]) -> Exception:
    """One of a kind, whatever its constructor wants."""
    return kind.__new__(kind)


CALLS: Final[list[Callable[[S3Store], object]]] = [
    lambda store: store.put(KEY, b"pixels", media_type="image/png"),
    lambda store: store.get(KEY),
    lambda store: store.exists(KEY),
    lambda store: store.delete([KEY]),
    lambda store: list(store.keys("default/")),
    lambda store: store.make_bucket(),
]


@pytest.mark.parametrize("error", [*MINIO, *map(made, http_errors())], ids=type)
def test_every_error_of_the_libraries_is_ours(error: Exception) -> None:
    store = store_with(error)
    for call in CALLS:
        with pytest.raises(Unavailable, match="S3 at host/packshot"):
            call(store)


def test_only_an_object_can_be_missing() -> None:
    store = store_with(s3_error("NoSuchKey"))

    with pytest.raises(NoSuchArtifact, match=f"no object {KEY}"):
        store.get(KEY)


@pytest.mark.parametrize("call", CALLS[:2])
def test_a_missing_bucket_is_told_with_its_remedy(call: Callable[[S3Store], object]) -> None:
    with pytest.raises(Unavailable, match="NoSuchBucket: run 'packshot init'"):
        call(store_with(s3_error("NoSuchBucket")))


def test_an_answer_that_is_not_s3_s_is_told_in_one_short_line() -> None:
    page = "<html>\n" * 1_000
    with pytest.raises(Unavailable) as caught:
        store_with(InvalidResponseError(200, "text/html", page)).get(KEY)

    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "packshot",
        "ftp://access:secret@host/packshot",
        "http://host/packshot",
        "http://access@host/packshot",
        "http://access:secret@host",
        "http://access:secret@host/a/b",
        "http://access:secret@host/No_Bucket",
        "http://access:secret@host:port/packshot",
        "http://access:secret@host:99999/packshot",
        "http://access:secret@[::1/packshot",
    ],
)
def test_a_url_that_cannot_be_meant_is_a_bad_setting(url: str) -> None:
    with pytest.raises(BadSettings, match="PACKSHOT_S3_URL") as caught:
        S3Store.from_url(url)

    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize("bucket", ["b", "ab", "x" * 64, "No_Bucket", "-packshot", "a/b"])
def test_a_name_that_is_no_buckets_is_told_apart_from_the_url(bucket: str) -> None:
    with pytest.raises(BadSettings) as caught:
        S3Store.from_url(f"http://access:secret@host/{bucket}")

    assert str(caught.value) == (
        f"PACKSHOT_S3_URL: bucket {bucket!r}: a bucket's name has 3 to 63 characters of a-z, 0-9,"
        " '.' and '-', the first and the last a letter or digit"
    )


@pytest.mark.parametrize("bucket", ["a..b", "192.168.1.1", "packshot-s3alias"])
def test_a_name_that_the_sdk_refuses_is_a_bad_setting(bucket: str) -> None:
    with pytest.raises(BadSettings, match=f"PACKSHOT_S3_URL: bucket name {bucket} "):
        S3Store.from_url(f"http://access:secret@host/{bucket}")


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://a:b@host/packshot", "host/packshot"),
        ("http://a:b@host:9000/packshot/", "host:9000/packshot"),
        ("https://a:b%2Fc@[::1]:9000/packshot", "[::1]:9000/packshot"),
    ],
)
def test_where_a_store_is_can_be_told(url: str, where: str) -> None:
    assert S3Store.from_url(url).where == where
