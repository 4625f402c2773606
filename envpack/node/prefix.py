"""Puts the environment's real folder where its files name the folder they were built in.

In memory and before a file is written: a file on disk is never half fixed.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from envpack.node.errors import InvalidManifest, Unsuitable
from envpack.node.model import FileRecord, Manifest, Prefix

#: Linux before 5.1 cuts a script's first line there, silently.
MAX_FIRST_LINE = 127
_PYTHON = re.compile(rb"python[0-9.]*")


def check(manifest: Manifest, folder: Path) -> None:
    """Whether ``folder`` fits wherever a placeholder stands.  Raises ``Unsuitable``."""
    prefixes = [record.prefix.placeholder for record in manifest.files if record.prefix]
    room = min((len(placeholder.encode()) for placeholder in prefixes), default=None)
    length = len(str(folder).encode())
    if room is not None and length > room:
        raise Unsuitable(
            f"{folder}: {length} bytes long, the environment has room for {room}: "
            "choose a shorter root"
        )


def fixed(record: FileRecord, data: bytes, folder: Path) -> bytes:
    """A file's content for ``folder``.  Raises ``InvalidManifest``."""
    if record.prefix is None:
        return data
    new = str(folder).encode()
    if record.prefix.mode == "text":
        return _short_first_line(data.replace(record.prefix.placeholder.encode(), new), new)
    return _in_strings(record.path, record.prefix, data, new)


def _in_strings(path: str, prefix: Prefix, data: bytes, new: bytes) -> bytes:
    """In C strings: the freed bytes become NULs behind each string, so nothing else moves."""
    old = prefix.placeholder.encode()

    def shorter(match: re.Match[bytes]) -> bytes:
        text = match.group()
        return text.replace(old, new) + bytes(text.count(old) * (len(old) - len(new)))

    result = re.sub(re.escape(old) + rb"[^\0]*(?=\0)", shorter, data)
    if len(result) != len(data) or old in result:
        raise InvalidManifest(f"{path}: a placeholder in no string that ends in NUL")
    return result


def _short_first_line(data: bytes, new: bytes) -> bytes:
    """A script whose interpreter's path has grown too long starts through /bin/sh."""
    line, newline, rest = data.partition(b"\n")
    if not line.startswith(b"#!") or len(line) <= MAX_FIRST_LINE or new not in line:
        return data
    program, _, options = line[2:].strip().partition(b" ")
    name = program.rpartition(b"/")[2]
    if not _PYTHON.fullmatch(name):
        return b"#!/usr/bin/env " + name + newline + rest
    # sh reads a command, Python a string: both go on with the script as it is.
    quoted = shlex.quote(program.decode()).encode()
    options = options.strip() + b" " if options.strip() else b""
    return b"#!/bin/sh\n'''exec' " + quoted + b" " + options + b'"$0" "$@"\n' + b"' '''\n" + rest
