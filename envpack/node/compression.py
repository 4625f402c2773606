"""Reads an archive through what decompresses it on this host."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import importlib
import importlib.util
import io
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Callable, cast

from envpack.node.errors import HostileArchive

_BUFFER = 1 << 20  # bytes
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, which Python names from 3.10 on


def readable() -> set[str]:
    """The formats that this host can read, of ``model.FORMATS``."""
    return {"tar.gz", "tar.zst"} if _zstd_command() or _zstd_module() else {"tar.gz"}


@contextlib.contextmanager
def decompressed(path: Path, kind: str) -> Iterator[BinaryIO]:
    """The tar.  Raises ``HostileArchive`` if it does not decompress to its end."""
    command = _zstd_command()
    if kind == "tar.zst" and command:
        yield from _through(command, path)
        return
    opened = _zstd_module() if kind == "tar.zst" else _gzip
    assert opened is not None, "asked for a format that is not readable() here"
    try:
        with opened(str(path)) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise HostileArchive(f"{path.name}: does not decompress ({fault})") from fault


def _through(command: str, path: Path) -> Iterator[BinaryIO]:
    process = subprocess.Popen(  # noqa: S603 - the host's own zstd, found on its path
        [command, "--decompress", "--stdout", "--quiet", "--", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with io.BufferedReader(_wide(cast("io.RawIOBase", process.stdout)), _BUFFER) as stream:
            try:
                yield cast("BinaryIO", stream)
            except HostileArchive as fault:
                process.kill()
                said = process.stderr.read(300).decode(errors="replace").strip()
                raise HostileArchive(f"{fault} ({said})" if said else str(fault)) from fault
        said = process.stderr.read(300).decode(errors="replace").strip()
        if process.wait():
            raise HostileArchive(f"{path.name}: does not decompress ({said})")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def _wide(pipe: io.RawIOBase) -> io.RawIOBase:
    with contextlib.suppress(OSError):  # the user's share is spent: the usual 64 KiB serve too
        fcntl.fcntl(pipe.fileno(), _SET_PIPE_SIZE, _BUFFER)
    return pipe


def _gzip(path: str) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", gzip.open(path)), _BUFFER))


def _zstd_command() -> str | None:
    return shutil.which("zstd")


def _zstd_module() -> Callable[[str], BinaryIO] | None:
    """In Python's own library from 3.14 on."""
    try:
        found = importlib.util.find_spec("compression.zstd")
    except ModuleNotFoundError:
        return None
    return importlib.import_module("compression.zstd").open if found else None
