"""``unpack --again`` of what is current, killed before each change that it makes on the disk."""

from __future__ import annotations

import subprocess
from pathlib import Path

from envpack.node.activate import activate
from envpack.node.host import Host
from envpack.node.integrity import differing
from envpack.node.plan import Wishes
from envpack.node.unpack import unpack
from envpack.pack.node_file import node_file
from tests.envpack_depot import SIGNER, TestDepot
from tests.integration.envpack.killing import killed_before_each_change
from tests.unit.envpack.node.scenes import releases, trusted

#: Each change is one run of the file; in all there are about as many as files and folders.
EVERY = 3


def test_current_starts_whenever_its_repair_is_killed(tmp_path: Path) -> None:
    depot, host = TestDepot(tmp_path / "depot"), Host(tmp_path / "root")
    (digest,) = releases(host, depot, 1)
    activate(host, digest)
    release = host.release(digest)
    key, node = tmp_path / "key.pub", tmp_path / "node.pyz"
    key.write_text(SIGNER.public)
    node.write_bytes(node_file())
    place = ["--root", str(host.root), "--depot", str(depot.folder), "--key", str(key)]

    def broken() -> list[str]:
        for kind, folder in (("env", "lib"), ("app", "worker")):
            tree = host.layer(kind, getattr(release, kind))
            (tree / folder).chmod(0o755)
            (tree / folder / "stray.txt").write_text("x")
        return ["unpack", digest, "--again", *place]

    def check() -> None:
        started = subprocess.run(
            [str(host.root / "current/bin/packshot-worker")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert f"PACKSHOT_RELEASE={digest}" in started.stdout
        for kind in ("env", "app"):
            left = differing(host, kind, getattr(release, kind), quick=False)
            assert set(left) <= {"lib/stray.txt", "worker/stray.txt"}

    kills = killed_before_each_change(node, broken, check, EVERY)

    assert kills * EVERY > 30
    for kind in ("env", "app"):
        assert differing(host, kind, getattr(release, kind), quick=False) == []
    assert [path for path in host.root.rglob("*") if path.name.startswith(".")] == []
    assert unpack(host, trusted(depot), digest, Wishes(again=True)).fresh == ()
