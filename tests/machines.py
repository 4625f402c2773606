"""A machine that builds environments and a bare host, in one folder of this machine.

The host knows the depot, the public key and the one file; it runs as another user where it can.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from envpack.pack.node_file import node_file
from envpack.pack.project import build_wheel
from tests.conda_prefix import make_channel, make_prefix

NOBODY: Final = 65534
#: As a bare host has it: a Python of the system's, else the one of these tests.
HOST_PYTHON: Final = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or sys.executable
PROJECT: Final = Path(__file__).parent.parent

Document = dict[str, Any]


@dataclass(frozen=True)
class Machines:
    """``user``: the host's, if not ours."""

    folder: Path
    user: int | None = None
    name: str = "root"  #: another one is another host

    @property
    def prefix(self) -> Path:
        """The environment where it is built."""
        return self.folder / "build" / "env"

    @property
    def depot(self) -> Path:
        return self.folder / "depot"

    @property
    def key(self) -> Path:
        return self.folder / "build" / "release.key"

    @property
    def root(self) -> Path:
        return self.folder / "host" / self.name

    def conda_prefix(self, prefix: Path) -> Path:
        """Python and pip, from a channel of our own; the package cache stays for the packing."""
        channel = self.folder / "build" / "channel"
        if not channel.exists():
            make_channel(channel, self.folder / "build" / "stage")
        return make_prefix(channel, prefix, self.folder / "build" / "packages")

    def build(self, *words: str | Path) -> Document:
        """A command of the build machine."""
        return document(self._run(self.to_build(*words), cwd=PROJECT))

    def to_build(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "envpack", *map(str, words), "--json"]

    def release(self, layers: Mapping[str, str], *more: str) -> Document:
        named = [word for kind, digest in layers.items() for word in (f"--{kind}", digest)]
        return self.build("release", *named, *more, "--depot", self.depot, "--key", self.key)

    def host(self, *words: str | Path) -> Document:
        """A command of the host's one file."""
        return document(self._run(self.on_host(*words), **as_user(self.user)))

    def on_host(self, *words: str | Path) -> list[str]:
        own = [HOST_PYTHON, "-I", str(self.folder / "packshot-node.pyz")]
        return [*own, *map(str, words), "--root", str(self.root), "--json"]

    def unpack(self, release: str) -> Document:
        return self.host(*self.of_unpack(release))

    def of_unpack(self, release: str) -> list[str]:
        return ["unpack", release, "--depot", str(self.depot), "--key", str(self.public)]

    @property
    def public(self) -> Path:
        return self.folder / "release.pub"

    def _run(self, command: Sequence[str], **how: Any) -> str:  # noqa: ANN401 - Popen's own
        ended = subprocess.run(command, check=False, capture_output=True, text=True, **how)
        assert ended.returncode == 0, f"{command}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}"
        said: str = ended.stdout
        return said


@contextmanager
def machines(*, another_user: bool) -> Iterator[Machines]:
    """Fresh ones, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="packshot-machines-"))
    made = Machines(folder, NOBODY if another_user and os.geteuid() == 0 else None)
    try:
        folder.chmod(0o755)
        (folder / "build").mkdir(mode=0o700)
        (folder / "host").mkdir()
        if made.user is not None:
            os.chown(folder / "host", made.user, made.user)
        (folder / "packshot-node.pyz").write_bytes(node_file())
        made.build("keygen", made.key, "--public", made.public)
        yield made
    finally:
        shutil.rmtree(folder)


def changed_wheel(scratch: Path, member: str, old: bytes, new: bytes) -> Path:
    """Of what is committed, but for one string of one module."""
    scratch.mkdir(exist_ok=True)
    wheel = build_wheel(PROJECT, scratch)
    changed = scratch / "changed" / wheel.name
    changed.parent.mkdir()
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(changed, "w") as after:
        for one in before.infolist():
            content = before.read(one)
            if one.filename == member:
                assert content.count(old), f"{member} no longer holds {old!r}"
                content = content.replace(old, new)
            after.writestr(one, content)
    return changed


def as_user(user: int | None) -> dict[str, Any]:
    """For ``subprocess``: this user, in an environment that names nothing of ours."""
    how: dict[str, Any] = {"cwd": "/", "env": {"PATH": "/usr/bin:/bin"}}
    if user is not None:
        how |= {"user": user, "group": user, "extra_groups": []}
    return how


def document(text: str) -> Document:
    found: Document = json.loads(text)
    return found
