"""Brings a file whose sha256 is known: resumed where it stopped, used only once it agrees."""

from __future__ import annotations

import os
import threading
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from envpack.node.depot import Depot, reading
from envpack.node.errors import NotTrusted, Unreachable
from envpack.node.host import writing

_BLOCK = 1 << 20  # bytes
_TRIES = 4
#: Neither packing nor shipping writes again what is there by its name.
ADVICE = "run it again; if that does not help, remove it from the depot, then pack or ship again"
_PAUSE = 1.0  # seconds before the second try; doubled for each further one


def fetched(place: Depot, name: str, digest: str, size: int, parts: Path) -> Path:
    """The file: where it lies if that is this host, else ``parts/<digest>``, whole and compared.

    Raises ``NotTrusted`` if it is not what ``digest`` and ``size`` say, ``NotThere``, or
    ``Unreachable`` after some tries; what has come by then is kept for the next run.
    """
    return local(place, name, digest, size) or copied(place, name, digest, size, parts)


def local(place: Depot, name: str, digest: str, size: int) -> Path | None:
    """The file where it lies, compared, if that is this host.  Raises ``NotTrusted``."""
    own = place.local(name)
    if own is None or not own.exists():
        return None
    check_file(own, digest, size)
    return own


def copied(place: Depot, name: str, digest: str, size: int, parts: Path) -> Path:
    """``parts/<digest>``, whole and compared, wherever the depot is.  Raises as ``fetched``."""
    parts.mkdir(parents=True, exist_ok=True)
    path = parts / digest
    pauses = [_PAUSE * 2**n for n in range(_TRIES - 1)]
    while not _arrived(place, name, path, size, may_fail=bool(pauses)):
        threading.Event().wait(pauses.pop(0))
    try:
        check_file(path, digest, size)
    except NotTrusted as fault:
        path.unlink()  # or every later run would find it again
        raise NotTrusted(f"{place.where}: {name}: {fault}") from fault
    return path


def to_come(place: Depot, name: str, digest: str, size: int, parts: Path) -> int:
    """Bytes that ``fetched`` would still bring here."""
    own = place.local(name)
    if own is not None and own.exists():
        return 0
    part = parts / digest
    return size - min(size, part.stat().st_size) if part.is_file() else size


def check_file(path: Path, digest: str, size: int) -> None:
    """Raises ``NotTrusted`` naming what differs."""
    found = path.stat().st_size
    if found != size:
        raise NotTrusted(f"{path}: {size} bytes expected, {found} found: {ADVICE}")
    digest_found = sha256_of(path)
    if digest_found != digest:
        raise NotTrusted(f"{path}: sha256 {digest} expected, {digest_found} found: {ADVICE}")


def sha256_of(path: Path) -> str:
    summed = sha256()
    with path.open("rb", buffering=0) as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            summed.update(block)
    return summed.hexdigest()


def _arrived(place: Depot, name: str, path: Path, size: int, *, may_fail: bool) -> bool:
    """Goes on where ``path`` ends, to its last byte."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "r+b") as file, writing(path):
        if file.seek(0, os.SEEK_END) > size:
            file.seek(file.truncate(0))
        try:
            _append(place, name, file, size)
        except Unreachable:
            if may_fail:
                return False
            raise
    return True


def _append(place: Depot, name: str, file: BinaryIO, size: int) -> None:
    if file.tell() == size:
        return
    with reading(place, name, file.tell()) as source:
        if source.start != file.tell():  # a server that knows no ranges starts again
            file.seek(file.truncate(0))
        while file.tell() < size:
            block = source.read(min(_BLOCK, size - file.tell()))
            if not block:
                raise Unreachable(f"{place.where}: {name}: {file.tell()} of {size} bytes came")
            file.write(block)


def check_stream(place: Depot, name: str, digest: str) -> None:
    """Reads a depot's file without keeping it.  Raises ``NotTrusted``."""
    summed = sha256()
    with reading(place, name) as source:
        for block in iter(lambda: source.read(_BLOCK), b""):
            summed.update(block)
    found = summed.hexdigest()
    if found != digest:
        raise NotTrusted(
            f"{place.where}: {name}: sha256 {digest} expected, {found} found: {ADVICE}"
        )
