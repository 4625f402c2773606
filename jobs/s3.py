"""``jobs.artifacts.ArtifactStore`` in an S3 bucket, through the ``minio`` SDK."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit
from xml.etree.ElementTree import ParseError

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error
from minio.helpers import check_bucket_name

from jobs.artifacts import Stored
from jobs.errors import BadSettings, Denied, NoSuchArtifact, Unavailable
from jobs.model import ArtifactKey
from jobs.s3_connections import connections

MISSING: Final = frozenset({"NoSuchKey", "NoSuchObject"})
DENIED: Final = frozenset({"AccessDenied"})
#: Without the last one S3 says "denied" of an object that is not there, and nobody can tell.
RIGHTS: Final = (
    "the keys of PACKSHOT_S3_URL must be right, and have s3:PutObject, s3:GetObject,"
    " s3:DeleteObject and s3:ListBucket on the bucket"
)
#: By what S3 answers.  An answer to HEAD has no body: of every refusal it only tells "denied".
TO_DO: Final = {
    "NoSuchBucket": "run 'packshot init'",
    "AccessDenied": RIGHTS,
    "InvalidAccessKeyId": "correct the keys in PACKSHOT_S3_URL",
    "SignatureDoesNotMatch": "correct the keys in PACKSHOT_S3_URL",
    "ExpiredToken": "these keys are too old: put new ones into PACKSHOT_S3_URL",
    "RequestTimeTooSkewed": "let an NTP client keep this machine's clock",
}
#: In one request, from the caller's own bytes: of parts the SDK holds a second copy, all at once,
#: and one that is killed leaves those it sent in the bucket.  S3 takes no more: 5 GiB.
ONE_PART: Final = 5 * 2**30
#: 3 to 63 of these; https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class S3Store:
    """Thread-safe; one pool of connections."""

    def __init__(self, client: Minio, bucket: str, where: str) -> None:
        self.client = client
        self.bucket = bucket
        self.where = where

    @classmethod
    def from_url(cls, url: str) -> Self:
        """From ``http(s)://ACCESS:SECRET@HOST[:PORT]/BUCKET``.  Raises ``BadSettings``."""
        parts = _parts(url)
        if parts is None:
            raise BadSettings("PACKSHOT_S3_URL: not of the form http://ACCESS:SECRET@HOST/BUCKET")
        bucket = _bucket(parts)
        endpoint = parts.netloc.rpartition("@")[2]
        client = Minio(
            endpoint,
            access_key=unquote(parts.username or ""),
            secret_key=unquote(parts.password or ""),
            secure=parts.scheme == "https",
            region="us-east-1",  # named, so that the SDK does not ask for it first
            http_client=connections(),
        )
        return cls(client, bucket, f"{endpoint}/{bucket}")

    def make_bucket(self) -> None:
        """Once, by ``packshot init``; a bucket that is there is fine."""
        with self._gate():
            if self.client.bucket_exists(self.bucket):
                return
            try:
                self.client.make_bucket(self.bucket)
            except S3Error:  # unless somebody else made it just now
                if not self.client.bucket_exists(self.bucket):
                    raise

    def put(self, key: ArtifactKey, data: bytes, *, media_type: str) -> None:
        with self._gate():
            self.client.put_object(
                self.bucket,
                key,
                io.BytesIO(data),
                len(data),
                content_type=media_type,
                part_size=ONE_PART,
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
            self._check_bucket()  # an answer without a body does not tell the two apart
            return False
        return True

    def _check_bucket(self) -> None:
        with self._gate():
            there = self.client.bucket_exists(self.bucket)
        if not there:
            raise Unavailable(self._told("NoSuchBucket"))

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
        return (one.key for one in self.stored(prefix))

    def stored(self, prefix: str) -> Iterator[Stored]:
        with self._gate():
            for item in self.client.list_objects(self.bucket, prefix, recursive=True):
                yield Stored(
                    key=ArtifactKey(str(item.object_name)),
                    bytes=item.size or 0,
                    at=item.last_modified or datetime.now(UTC),  # unknown is young
                )

    def link(self, key: ArtifactKey, *, expires: timedelta, download_as: str | None = None) -> str:
        headers: dict[str, str | list[str] | tuple[str]] = {}
        if download_as:
            name = quote(download_as, safe="")  # RFC 6266: any character, and no quotes to break
            headers["response-content-disposition"] = f"attachment; filename*=UTF-8''{name}"
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
            kind = Denied if error.code in DENIED else Unavailable
            raise kind(self._told(error.code)) from error
        except (MinioException, ParseError, ValueError) as error:
            told = " ".join(str(error).split())[:200]
            raise Unavailable(f"S3 at {self.where}: no answer of S3's: {told}") from error
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"S3 at {self.where} does not answer: {_cause(error)}") from error

    def _told(self, code: str | None) -> str:
        to_do = TO_DO.get(code or "")
        return f"S3 at {self.where}: {code}" + (f": {to_do}" if to_do else "")


def _parts(url: str) -> SplitResult | None:
    """``None`` unless all of it is there and can be meant."""
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.username and parts.password and parts.port != 0
    except ValueError:  # a port that is no number, or half an IPv6 address
        return None
    known = parts.scheme in {"http", "https"} and parts.path.strip("/")
    return parts if named and known else None


def _bucket(parts: SplitResult) -> str:
    """Raises ``BadSettings`` for a name that S3 gives to none."""
    name = parts.path.strip("/")
    if not BUCKET_NAME.fullmatch(name):
        raise BadSettings(
            f"PACKSHOT_S3_URL: bucket {name[:80]!r}: a bucket's name has 3 to 63 characters of"
            " a-z, 0-9, '.' and '-', the first and the last a letter or digit"
        )
    try:
        check_bucket_name(name)  # the SDK would only say it at the first call
    except ValueError as error:
        raise BadSettings(f"PACKSHOT_S3_URL: {error}") from None
    return name


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    answered = isinstance(reason, urllib3.exceptions.ResponseError)
    return str(reason) if answered else type(reason).__name__
