"""A depot in an S3 bucket, through the ``minio`` SDK: loaded only by whoever ships to one.

S3 shows an object when it is whole, and refuses one whose bytes do not match the digests that
the SDK sends with them.  A file that was cut off goes again from its first byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from envpack.node.errors import NotThere, NotTrusted, Unreachable
from envpack.node.settings import BucketServer
from envpack.pack.ship import Item

_PART: Final = 64 * 1024 * 1024  # bytes; 10,000 parts of these are more than any archive
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchObject"})
_DIGEST: Final = "x-amz-meta-sha256"


class Bucket:
    def __init__(self, server: BucketServer, bucket: str, prefix: str) -> None:
        place = urlsplit(server.url)
        self._client = Minio(
            place.netloc,
            access_key=server.access,
            secret_key=server.secret,
            secure=place.scheme == "https",
            region=server.region,  # named, so that the SDK does not ask for it first
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=5, read=60), retries=urllib3.Retry(total=3)
            ),
        )
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self.where = f"s3://{place.netloc}/{bucket}/{prefix}".rstrip("/")

    def send(self, depot: Path, items: Sequence[Item]) -> list[Item]:
        with self._gate():
            if not self._client.bucket_exists(self._bucket):
                raise NotThere(f"{self.where}: no such bucket: make it first")
        return [item for item in items if self._send(depot / item.path, item)]

    def _send(self, source: Path, item: Item) -> bool:
        with source.open("rb") as file:
            digest = item.sha256 or hashlib.file_digest(file, "sha256").hexdigest()
        if self._stored(item) == (item.size, digest):
            return False
        with source.open("rb") as file:  # not before: hashing what is there already costs minutes
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise NotTrusted(f"{item.path}: its content is {found}: remove it, then pack again")
        with self._gate():
            self._client.fput_object(
                self._bucket,
                self._prefix + item.path,
                str(source),
                metadata={"sha256": digest},
                part_size=_PART,
            )
        if self._stored(item) != (item.size, digest):
            raise NotTrusted(f"{self.where}/{item.path}: not as it was sent: ship again")
        return True

    def _stored(self, item: Item) -> tuple[int | None, str | None] | None:
        """(bytes, sha256 as it was noted when it was sent), or nothing."""
        with self._gate():
            try:
                found = self._client.stat_object(self._bucket, self._prefix + item.path)
            except S3Error as fault:
                if fault.code in _MISSING:
                    return None
                raise
        return found.size, (found.metadata or {}).get(_DIGEST)

    @contextmanager
    def _gate(self) -> Iterator[None]:
        try:
            yield
        except S3Error as fault:
            raise Unreachable(f"{self.where}: {fault.code}: {fault.message}") from fault
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as fault:
            raise Unreachable(f"{self.where}: {' '.join(str(fault).split())[:300]}") from fault
