"""``jobs.artifacts.ArtifactStore`` in an S3 bucket, through the ``minio`` SDK."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from jobs.errors import BadSettings, NoSuchArtifact, Unavailable
from jobs.model import ArtifactKey

CONNECT_TIMEOUT: Final = 3.0  # seconds
READ_TIMEOUT: Final = 30.0  # seconds without a byte
POOL: Final = 16  # connections kept open
MISSING: Final = frozenset({"NoSuchKey", "NoSuchObject"})
#: Answers worth the SDK's own next try, a moment later.
RETRIED: Final = (500, 502, 503, 504)


class S3Store:
    """Thread-safe; one pool of connections."""

    def __init__(self, client: Minio, bucket: str, where: str) -> None:
        self.client = client
        self.bucket = bucket
        self.where = where

    @classmethod
    def from_url(cls, url: str) -> Self:
        """From ``http(s)://ACCESS:SECRET@HOST[:PORT]/BUCKET``.  Raises ``BadSettings``."""
        parts = urlsplit(url)
        bucket = parts.path.strip("/")
        complete = parts.hostname and parts.username and parts.password and bucket
        if parts.scheme not in {"http", "https"} or not complete or "/" in bucket:
            raise BadSettings("PACKSHOT_S3_URL: not of the form http://ACCESS:SECRET@HOST/BUCKET")
        endpoint = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
        client = Minio(
            endpoint,
            access_key=unquote(parts.username or ""),
            secret_key=unquote(parts.password or ""),
            secure=parts.scheme == "https",
            region="us-east-1",  # named, so that the SDK does not ask for it first
            http_client=urllib3.PoolManager(
                maxsize=POOL,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
                retries=urllib3.Retry(
                    total=2, backoff_factor=0.2, status_forcelist=RETRIED, allowed_methods=None
                ),
            ),
        )
        return cls(client, bucket, f"{endpoint}/{bucket}")

    def make_bucket(self) -> None:
        """Once, by ``packshot init``; a bucket that is there is fine."""
        with self._gate():
            if not self.client.bucket_exists(self.bucket):
                self.client.make_bucket(self.bucket)

    def put(self, key: ArtifactKey, data: bytes, *, media_type: str) -> None:
        with self._gate():
            self.client.put_object(
                self.bucket, key, io.BytesIO(data), len(data), content_type=media_type
            )

    def get(self, key: ArtifactKey) -> bytes:
        with self._gate(key):
            response = self.client.get_object(self.bucket, key)
            try:
                return response.read()
            finally:
                response.close()
                response.release_conn()

    def exists(self, key: ArtifactKey) -> bool:
        try:
            with self._gate(key):
                self.client.stat_object(self.bucket, key)
        except NoSuchArtifact:
            return False
        return True

    def delete(self, keys: Sequence[ArtifactKey]) -> None:
        with self._gate():
            doomed = [DeleteObject(key) for key in keys]
            errors = [
                error
                for error in self.client.remove_objects(self.bucket, doomed)
                if error.code not in MISSING
            ]
        if errors:
            raise Unavailable(f"S3 at {self.where}: {errors[0].message} ({errors[0].name})")

    def keys(self, prefix: str) -> Iterator[ArtifactKey]:
        with self._gate():
            for item in self.client.list_objects(self.bucket, prefix, recursive=True):
                yield ArtifactKey(str(item.object_name))

    def link(self, key: ArtifactKey, *, expires: timedelta, download_as: str | None = None) -> str:
        headers: dict[str, str | list[str] | tuple[str]] = {}
        if download_as:
            headers["response-content-disposition"] = f'attachment; filename="{download_as}"'
        with self._gate():
            return self.client.presigned_get_object(
                self.bucket, key, expires=expires, response_headers=headers or None
            )

    @contextmanager
    def _gate(self, key: str = "") -> Iterator[None]:
        """The SDK's errors become ours here, and nowhere else."""
        try:
            yield
        except S3Error as error:
            if error.code in MISSING:
                raise NoSuchArtifact(f"S3 at {self.where}: no object {key}") from error
            hint = ": run 'packshot init'" if error.code == "NoSuchBucket" else ""
            raise Unavailable(f"S3 at {self.where}: {error.code}{hint}") from error
        except (ServerError, InvalidResponseError, MinioException) as error:
            raise Unavailable(f"S3 at {self.where}: {error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"S3 at {self.where} does not answer: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return type(reason).__name__
