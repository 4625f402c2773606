"""Where documents and archives come from: a folder, a web server, a bucket.

Nothing that a depot says is believed: whoever reads from one compares signatures and digests.
"""

from __future__ import annotations

import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO, Protocol, cast
from urllib.parse import quote, urlsplit, urlunsplit

from envpack.node import s3
from envpack.node.errors import NotThere, NotTrusted, Unreachable, Unsuitable
from envpack.node.settings import BucketServer, bucket_server, split_url

TIMEOUT = 60.0  #: seconds without a byte until a server counts as gone
BUCKET = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]+)(/(?P<prefix>\S*))?")
_CODE = re.compile(rb"<Code>(\w+)</Code>")
_MAX_REASON = 4096  # bytes of an answer that refuses
_GONE = (OSError, http.client.HTTPException)  # URLError and timeouts are OSErrors


class Opened:
    """A file of a depot, from ``start`` on."""

    def __init__(self, stream: BinaryIO, start: int, where: str) -> None:
        self.start, self._stream, self._where = start, stream, where

    def read(self, size: int) -> bytes:
        """Empty at the end.  Raises ``Unreachable``."""
        try:
            return self._stream.read(size)
        except _GONE as fault:
            raise Unreachable(f"{self._where}: broke off ({fault})") from fault


class Depot(Protocol):
    """Files by name.  ``opened`` may start at the first byte although more is skipped."""

    where: str

    def opened(self, name: str, start: int = 0) -> Opened:
        """Raises ``NotThere`` or ``Unreachable``; ``close`` it through ``reading``."""

    def local(self, name: str) -> Path | None:
        """The file itself, where it lies on this host; never a link to it."""


def depot(text: str) -> Depot:
    """``https://…``, ``s3://bucket/prefix``, ``file:///folder`` or a folder.

    Raises ``Unsuitable``.
    """
    bucket = BUCKET.fullmatch(text)
    if bucket:
        prefix = (bucket["prefix"] or "").strip("/")
        return Bucket(bucket_server(), bucket["bucket"], prefix)
    parts = split_url("depot", text)
    if parts.username or parts.password:
        raise Unsuitable("depot: a user and a password in its URL: only a query goes with requests")
    if parts.scheme in {"http", "https"} and parts.hostname:
        return Web(text)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Folder(Path(urllib.request.url2pathname(parts.path)))
    if parts.scheme or not text:
        raise Unsuitable(
            f"depot {text!r}: a folder, file:///FOLDER, https://HOST/PATH or s3://BUCKET/PREFIX"
        )
    return Folder(Path(text))


def read(place: Depot, name: str, limit: int) -> bytes:
    """A whole document of at most ``limit`` bytes.  Raises ``NotTrusted`` for a longer one."""
    with reading(place, name) as file:
        pieces: list[bytes] = []
        room = limit + 1
        while room:
            piece = file.read(room)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            room -= len(piece)
    raise NotTrusted(f"{place.where}: {name}: longer than the {limit} bytes that it may have")


@contextmanager
def reading(place: Depot, name: str, start: int = 0) -> Iterator[Opened]:
    file = place.opened(name, start)
    try:
        yield file
    finally:
        file._stream.close()  # noqa: SLF001 - the one place that closes it


class Folder:
    """On this host, or mounted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.where = str(folder)

    def opened(self, name: str, start: int = 0) -> Opened:
        path = self._folder / name
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            what = "file in this depot" if self._folder.is_dir() else "depot"
            raise NotThere(f"{path}: no such {what}") from None
        except (PermissionError, NotADirectoryError) as fault:
            raise Unsuitable(
                f"{path}: cannot be read ({fault.strerror}): a depot is a folder that this user "
                "may read"
            ) from fault
        except OSError as fault:
            raise Unreachable(f"{path}: cannot be read ({fault.strerror})") from fault
        stream.seek(start)
        return Opened(stream, start, str(path))

    def local(self, name: str) -> Path | None:
        return Path(os.path.realpath(self._folder / name))


class Web:
    """Any web server.  A query in the depot's URL (a token) goes with every request."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self.where = urlunsplit(self._parts._replace(query="", fragment=""))

    def opened(self, name: str, start: int = 0) -> Opened:
        wanted = self._request(name)
        if start:
            wanted.add_header("Range", f"bytes={start}-")
        where = f"{self.where.rstrip('/')}/{name}"
        try:
            # No scheme but the two that ``depot`` lets through.
            answer = urllib.request.urlopen(wanted, timeout=TIMEOUT)  # noqa: S310
        except urllib.error.HTTPError as fault:
            word = _word(fault)
            if start and fault.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return self.opened(name)
            raise _refused(where, fault, word) from None
        except _GONE as fault:
            reason = getattr(fault, "reason", fault)
            raise Unreachable(f"{where}: no answer ({reason}); try again") from None
        partial = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        return Opened(cast("BinaryIO", answer), start if partial else 0, where)

    def local(self, name: str) -> Path | None:  # noqa: ARG002 - the port's
        return None

    def _request(self, name: str) -> urllib.request.Request:
        path = f"{self._parts.path.rstrip('/')}/{quote(name)}"
        return urllib.request.Request(urlunsplit(self._parts._replace(path=path)))  # noqa: S310


class Bucket(Web):
    """S3, MinIO and their like, path style."""

    def __init__(self, server: BucketServer, bucket: str, prefix: str) -> None:
        self._server, self._bucket = server, bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.where = f"s3://{bucket}/{prefix}".rstrip("/")

    def _request(self, name: str) -> urllib.request.Request:
        url = s3.object_url(self._server, self._bucket, self._prefix + name)
        headers = s3.signed_get(self._server, url, datetime.now(timezone.utc))
        return urllib.request.Request(url, headers=headers)  # noqa: S310 - settings say http(s)


def _word(fault: urllib.error.HTTPError) -> str:
    """By which S3 gives its reason; empty where a server gives none."""
    with fault, suppress(*_GONE):
        found = _CODE.search(fault.read(_MAX_REASON))
        return found.group(1).decode() if found else ""
    return ""


def _refused(where: str, fault: urllib.error.HTTPError, reason: str) -> Exception:
    code, word = http.HTTPStatus, f" ({reason})" if reason else ""
    if reason == "RequestTimeTooSkewed":
        return Unsuitable(f"{where}: the server's clock says another time: set this host's clock")
    if fault.code in {code.NOT_FOUND, code.GONE}:
        return NotThere(f"{where}: no such file in this depot{word}")
    if fault.code in {code.UNAUTHORIZED, code.FORBIDDEN}:
        return NotThere(f"{where}: {fault.code}: not there, or not for these credentials{word}")
    return Unreachable(f"{where}: answers {fault.code} {fault.reason}{word}; try again")
