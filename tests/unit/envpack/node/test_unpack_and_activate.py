"""``unpack --activate``: one command from the depot to what workers start."""

from __future__ import annotations

import json
from typing import Any

import pytest

from envpack.node import commands
from envpack.node.cli import COMMANDS
from envpack.node.host import Host
from tests.envpack_depot import SIGNER, TestDepot
from tests.unit.envpack.node.scenes import app_of, unpacked


def brought(host: Host, depot: TestDepot, release: str) -> int:
    at = ["--root", str(host.root), "--depot", str(depot.folder), "--key", SIGNER.public]
    words = ["unpack", release, "--activate", *at, "--json"]
    return commands.main("packshot-node", "", COMMANDS, words)


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_what_was_unpacked_is_current(
    host: Host, depot: TestDepot, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = depot.release(1), depot.release(2, app=app_of(depot, 2))
    assert brought(host, depot, first) == 0
    capsys.readouterr()

    assert brought(host, depot, second) == 0
    answer = said(capsys)
    assert (answer["active"], answer["before"], answer["fresh"]) == (second, first, ["app"])
    assert host.linked("current") == second


@pytest.mark.parametrize(
    ("kind", "path"), [("env", "etc/demo.conf"), ("model", "unet/weights.bin")]
)
def test_a_layer_that_was_here_before_is_looked_at(
    host: Host, depot: TestDepot, capsys: pytest.CaptureFixture[str], kind: str, path: str
) -> None:
    first = unpacked(host, depot, depot.release(1)).release
    file = host.layer(kind, getattr(first, kind)) / path
    file.chmod(0o644)
    file.write_bytes(b"another size")

    assert brought(host, depot, depot.release(2, app=app_of(depot, 2))) == 1
    answer = said(capsys)
    failed = [one["check"] for one in answer["findings"] if one["state"] == "failed"]
    assert (answer["active"], failed) == (None, [kind])
    assert host.linked("current") is None
