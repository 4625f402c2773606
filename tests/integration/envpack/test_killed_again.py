"""``unpack --again`` of what is current, killed before each change that it makes on the disk."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from envpack.node.activate import activate
from envpack.node.host import Host
from envpack.node.integrity import differing
from envpack.node.plan import Wishes
from envpack.node.unpack import unpack
from envpack.pack.node_file import node_file
from tests.envpack_depot import ENV, SIGNER, Content, TestDepot
from tests.integration.envpack.killing import killed_before_each_change
from tests.services import eventually
from tests.unit.envpack.node.scenes import releases, started, trusted

A_WHILE = timedelta(seconds=60)  # until a process must have come so far
#: Waits in its first check, once it was told to, until it is told to end.
_WAITING = """#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
if [ -e {told}/wait ]; then
  mv {told}/wait {told}/waits
  while [ ! -e {told}/end ]; do sleep 0.1; done
fi
echo "[\\"$here\\", {{}}]"
"""

#: Each change is one run of the file; in all there are about as many as files and folders.
EVERY = 3


def command(folder: Path, *words: str) -> list[str]:
    """Of the one file, which is written into ``folder`` too."""
    key, node = folder / "key.pub", folder / "node.pyz"
    key.write_text(SIGNER.public)
    node.write_bytes(node_file())
    place = ["--root", str(folder / "root"), "--depot", str(folder / "depot"), "--key", str(key)]
    return [sys.executable, str(node), *words, *place]


def strayed(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "stray.txt").write_text("x")


def test_current_starts_whenever_its_repair_is_killed(tmp_path: Path) -> None:
    depot, host = TestDepot(tmp_path / "depot"), Host(tmp_path / "root")
    (digest,) = releases(host, depot, 1)
    activate(host, digest)
    release = host.release(digest)
    _, node, *words = command(tmp_path, "unpack", digest, "--again")

    def broken() -> list[str]:
        for kind, folder in (("env", "lib"), ("app", "worker")):
            strayed(host.layer(kind, getattr(release, kind)) / folder)
        return words

    def check() -> None:
        assert host.linked("current") == digest
        assert f"PACKSHOT_RELEASE={digest}" in started(host, digest)
        for kind in ("env", "app"):
            left = differing(host, kind, getattr(release, kind), quick=False)
            assert set(left) <= {"lib/stray.txt", "worker/stray.txt"}

    kills = killed_before_each_change(Path(node), broken, check, EVERY)

    assert kills * EVERY > 30
    for kind in ("env", "app"):
        assert differing(host, kind, getattr(release, kind), quick=False) == []
    assert [path for path in host.root.rglob("*") if path.name.startswith(".")] == []
    assert unpack(host, trusted(depot), digest, Wishes(again=True)).fresh == ()


def test_without_an_exchange_the_next_unpack_puts_back_what_a_killed_repair_put_aside(
    tmp_path: Path,
) -> None:
    depot, host = TestDepot(tmp_path / "depot"), Host(tmp_path / "root")
    (digest,) = releases(host, depot, 1)
    activate(host, digest)
    env = host.release(digest).env
    _, node, *words = command(tmp_path, "unpack", digest, "--again")
    away: list[str] = []

    def broken() -> list[str]:
        strayed(host.layer("env", env) / "lib")
        (host.root / "current/bin/packshot").unlink(missing_ok=True)
        return words

    def check() -> None:
        places = (host.layer("env", env), host.release_folder(digest))
        away.extend(place.parent.name for place in places if not place.exists())
        unpack(host, trusted(depot), digest)
        assert f"PACKSHOT_RELEASE={digest}" in started(host, digest)

    killed_before_each_change(Path(node), broken, check, libc="old libc")

    assert set(away) == {"env", "releases"}
    assert differing(host, "env", env, quick=False) == []


def test_a_check_that_outlives_a_killed_repair_does_not_stop_the_next(tmp_path: Path) -> None:
    depot, host = TestDepot(tmp_path / "depot"), Host(tmp_path / "root")
    python = _WAITING.format(told=tmp_path).encode()
    content = Content(files={**ENV.files, "bin/python": (python, 0o755)}, links=ENV.links)
    digest = depot.release(env=depot.layer("env", content))
    env = unpack(host, trusted(depot), digest).release.env
    words = command(tmp_path, "unpack", digest, "--again")
    strayed(host.layer("env", env) / "lib")
    (tmp_path / "wait").touch()

    try:
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
            try:
                eventually((tmp_path / "waits").exists, within=A_WHILE)
            finally:
                process.kill()
        strayed(host.layer("env", env) / "lib")
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
    finally:
        (tmp_path / "end").touch()

    assert ended.returncode == 0, ended.stderr
    assert differing(host, "env", env, quick=False) == []
