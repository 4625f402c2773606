"""Writes the host's side as one file, the same bytes for the same code."""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Final

import envpack
from envpack.node.commands import Answer, Command, named_path
from envpack.node.errors import Unsuitable

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the oldest that a zip can say
_SHEBANG: Final = b"#!/usr/bin/env python3\n"
#: Read by whatever Python the host has, so it says in the oldest syntax what it needs.
_MAIN: Final = """\
import sys

if sys.version_info < (3, 9):
    sys.exit("packshot-node: needs Python 3.9 or newer, this is " + sys.version.split()[0])

import gc

from envpack.node.cli import main

gc.disable()  # of a manifest's tens of thousands of rows nothing is ever free before the end
main()
"""


def node_file() -> bytes:
    """The zipapp: standard library and ``envpack.node`` alone."""
    package = Path(envpack.__file__).parent
    sources = {
        path.relative_to(package.parent).as_posix(): path.read_bytes()
        for path in (package / "__init__.py", *package.glob("node/*.py"))
    }
    content = io.BytesIO()
    content.write(_SHEBANG)
    # Stored, for another zlib would compress to other bytes.
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, source in sorted({**sources, "__main__.py": _MAIN.encode()}.items()):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr = 0o644 << 16
            member.create_system = 3  # Unix, wherever it is written
            archive.writestr(member, source)
    return content.getvalue()


def _write(arguments: argparse.Namespace) -> Answer:
    content = node_file()
    out: Path = arguments.out
    if out.is_dir():
        raise Unsuitable(f"{out}: is a folder: name a file in it")
    draft = out.with_name(f".{out.name}.draft")
    draft.write_bytes(content)
    draft.chmod(0o755)
    draft.replace(out)
    digest = hashlib.sha256(content).hexdigest()
    return Answer(f"{out}: {len(content):,} bytes, sha256 {digest}", {"sha256": digest})


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=named_path, help="packshot-node.pyz, for example")


COMMANDS: Final = {
    "node-file": Command("write what a bare host needs, as one file", _arguments, _write)
}
