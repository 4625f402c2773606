"""A real conda environment, packed here, started on a host that has never seen it.

By another user, with the host's own Python and one file, the original renamed away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp

import pytest

from envpack.node.trees import remove
from envpack.pack.node_file import node_file
from tests.conda_prefix import make_prefix, pip_install, write_wheel

NOBODY = 65534
#: As much of an application as a check starts.
WORKER = {"worker/__init__.py": b"", "worker/cli.py": b"import demo_tool\n"}
#: What the environment's Python says of itself.
PROBE = """
import pathlib, ssl, sqlite3, sys, ctypes, demo_tool
maps = pathlib.Path("/proc/self/maps").read_text()
print(sys.prefix, sys.base_prefix, demo_tool.__file__, *sys.path, sep="\\n")
print(maps)
"""


class Site:
    """A build machine's folder and a bare host's, both below one that an ordinary user may read."""

    def __init__(self, folder: Path) -> None:
        self.build, self.depot = folder / "build", folder / "depot"
        self.node, self.root = folder / "packshot-node.pyz", folder / "host"
        self.node.write_bytes(node_file())
        self.root.mkdir()
        if os.getuid() == 0:
            os.chown(self.root, NOBODY, NOBODY)

    def here(self, *words: str | Path) -> str:
        """What a command of the build machine answers."""
        command = [sys.executable, "-m", "envpack", *map(str, words)]
        return said(subprocess.run(command, capture_output=True, text=True, check=False))

    def there(self, command: Sequence[str | Path], **environment: str) -> str:
        """What a command answers on the bare host, to an ordinary user."""
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        ended = subprocess.run(  # type: ignore[call-overload]
            list(map(str, command)),
            env={"PATH": "/usr/bin:/bin", **environment},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **who,
        )
        return said(ended)

    def node_command(self, *words: str | Path) -> str:
        python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
        return self.there([python, self.node, *words, "--root", self.root])


def said(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def site() -> Iterator[Site]:
    folder = Path(mkdtemp())
    folder.chmod(0o755)
    yield Site(folder)
    remove(folder)


def digest_in(answer: str) -> str:
    """The one word of 64 hexadecimal digits."""
    return next(
        word for word in answer.replace('"', " ").replace(",", " ").split() if len(word) == 64
    )


def test_what_was_packed_here_runs_there_and_nothing_of_here_is_mapped(
    site: Site, conda_channel: Path, conda_cache: Path, wheelhouse: Path, tmp_path: Path
) -> None:
    prefix = make_prefix(conda_channel, site.build / "prefix", conda_cache)
    pip_install(prefix, "--find-links", str(wheelhouse), "demo-tool")
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"w" * 1000)
    key, depot = tmp_path / "key", site.depot
    site.here("keygen", key)
    signed: list[str | Path] = ["--depot", depot, "--key", key]
    env = digest_in(site.here("pack", prefix, *signed, "--json"))
    wheel = write_wheel(tmp_path / "wheels", "packshot", "1.0", WORKER)
    app = digest_in(site.here("app", "--wheel", wheel, *signed, "--json"))
    weights = digest_in(site.here("model", "add", model, *signed, "--json"))
    release = digest_in(
        site.here(
            "release", *signed, "--env", env, "--app", app, "--model", weights, "--json"
        )
    )  # fmt: skip
    subprocess.run(["chmod", "-R", "a+rX", str(depot)], check=True)
    public = (tmp_path / "key.pub").read_text().splitlines()[1]
    prefix.rename(prefix.with_name("renamed-away"))

    site.node_command("unpack", release, "--depot", depot, "--key", public)
    checked = site.node_command("check", release)
    site.node_command("activate", release)

    tree = site.root / "env" / env
    told = site.there([tree / "bin/python", "-B", "-c", PROBE])
    assert told.splitlines()[:2] == [str(tree), str(tree)]
    assert str(prefix) not in told
    assert sys.base_prefix not in told
    assert f"{tree}/lib/libpython" in told
    assert "failed" not in checked
    assert site.there([tree / "bin/demo-tool"]).strip() == str(tree)
