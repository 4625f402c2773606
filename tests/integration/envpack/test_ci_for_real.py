"""The pipeline's script with the real packshot-env: from an environment to a release that starts.

The environment is a small one; the container is a user's own folders and a PATH without zstd.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envpack.node.trees import remove
from envpack.pack.sign import make_key
from tests.conda_prefix import write_wheel

CI = Path(__file__).parents[3] / "deploy" / "ci"
#: As a slim image of the oldest Python has them.
TOOLS = ("sh", "env", "cat", "dirname", "readlink", "realpath", "sync", "flock")
WORKER = {
    "worker/__init__.py": b"",
    "worker/__main__.py": b"import sys\nassert '--help' in sys.argv\nprint('usage: worker')\n",
}
#: The real one, but for what takes a network, minutes, or this project's whole environment.
PACKSHOT_ENV = """#!/bin/sh
real="{python} -m envpack"
export PYTHONPATH={project}
case $1 in
  build) ln -s {prefix} "$WORK/env" ;;
  app) exec $real app --wheel {wheel} --python {prefix}/bin/python --depot "$DEPOT" --json ;;
  sbom | scan | provenance) ;;
  release) exec $real "$@" --commit 0000000000000000000000000000000000000000 ;;
  *) exec $real "$@" ;;
esac
"""
#: Runs the command on this machine, with the volumes' folders in the place of the container's.
DOCKER = """#!{python}
import os, re, sys
words = sys.argv[1:]
volumes = [one.removesuffix(":ro").split(":") for one in words if re.fullmatch(r"/.*:/.*", one)]
script, *rest = words[words.index("-euc") + 1:]
for here, there in volumes:
    script = re.sub(rf"(?<![\\w/]){{re.escape(there)}}(?![\\w.-])", here, script)
    os.path.exists(here) or sys.exit(f"{{here}}: no such volume")
os.chdir("/")
os.execve("{tools}/sh", ["sh", "-euc", script, *rest], {{"PATH": "{tools}"}})
"""


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def settings(conda_prefix: Path, tmp_path: Path) -> dict[str, str]:
    tools, bin_, weights = (tmp_path / name for name in ("tools", "bin", "weights"))
    for folder in (tools, bin_, weights):
        folder.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(str(shutil.which(tool)))
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    program(tools / "python3", f'#!/bin/sh\nexec {python} "$@"\n')
    (weights / "weights.bin").write_bytes(b"w" * 1000)
    wheel = write_wheel(tmp_path / "wheels", "packshot", "1.0", WORKER)
    project = CI.parents[1]
    known = {"python": sys.executable, "project": project, "prefix": conda_prefix, "wheel": wheel}
    program(bin_ / "packshot-env", PACKSHOT_ENV.format(**known))
    program(bin_ / "docker", DOCKER.format(python=sys.executable, tools=tools))
    make_key(tmp_path / "key", tmp_path / "key.pub")
    return {
        "PATH": f"{bin_}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "DEPOT": str(tmp_path / "depot"),
        "WORK": str(tmp_path / "work"),
        "KEY": str(tmp_path / "key"),
        "PUBLIC_KEY": str(tmp_path / "key.pub"),
        "DESTINATION": str(tmp_path / "published"),
        "MODEL": str(weights),
    }


def run(step: str, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """As an ordinary user, whom read-only folders bind."""
    bound = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    words = [*(bound if os.geteuid() == 0 else []), str(CI / "release.sh"), step]
    return subprocess.run(words, env=settings, capture_output=True, text=True, check=False)


def test_a_release_is_made_started_without_zstd_and_published_again_and_again(
    settings: dict[str, str], tmp_path: Path
) -> None:
    for counter in (1, 2):
        for step in ("build", "pack", "sign", "smoke", "publish"):
            ended = run(step, settings)
            assert ended.returncode == 0, f"{step}: {ended.stdout}{ended.stderr}"
        made = json.loads((tmp_path / "work/found/release.json").read_text())
        assert made["counter"] == counter
        assert (tmp_path / "published/releases" / f"{made['digest']}.json").is_file()
        assert not (tmp_path / "work/smoke").exists()


def test_what_a_killed_smoke_test_left_stops_no_later_release(
    settings: dict[str, str], tmp_path: Path
) -> None:
    left = tmp_path / "work" / "smoke" / "env"
    left.mkdir(parents=True)
    (left / "file").touch()
    left.chmod(0o555)
    try:
        ended = run("build", settings)
        assert ended.returncode == 0, ended.stderr
        assert not left.exists()
    finally:
        remove(tmp_path / "work" / "smoke")
