"""Before it is marked complete, an environment's own Python loads what holds compiled code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envpack.node.errors import Unsuitable
from envpack.node.host import Host
from tests.envpack_depot import ENV, Content, TestDepot
from tests.unit.envpack.node.scenes import unpacked

_COMPILED = ("torch", "PIL", "psycopg_binary")
#: Says of each module that it was told to load whether it is one of those that do not.
_PYTHON = """#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
echo "$5" >> "{log}"
found=
for name in {broken}; do
  case "$5" in *"\\"$name\\""*) found="$found,\\"$name\\": \\"no library\\"" ;; esac
done
echo "[\\"$here\\", {{${{found#,}}}}]"
"""


def environment(log: Path, *broken: str) -> Content:
    python = _PYTHON.format(log=log, broken=" ".join(broken))
    libraries = {f"lib/site-packages/{name}/_native.so": (b"x", 0o755) for name in _COMPILED}
    files = {**ENV.files, **libraries, "bin/python": (python.encode(), 0o755)}
    facts = {**ENV.facts, "imports": ["torch", "click", "PIL", "psycopg"]}
    return Content(files=files, links=ENV.links, facts=facts)


def test_modules_with_compiled_code_are_loaded_and_torch_beside_the_others(
    host: Host, depot: TestDepot, tmp_path: Path
) -> None:
    log = tmp_path / "loaded"
    unpacked(host, depot, depot.release(env=depot.layer("env", environment(log))))

    loaded = sorted(json.loads(line) for line in log.read_text().splitlines())
    assert loaded == [["PIL", "psycopg"], ["torch"]]


@pytest.mark.parametrize("broken", [("torch",), ("psycopg",), ("torch", "PIL")])
def test_whichever_does_not_load_the_layer_is_refused(
    host: Host, depot: TestDepot, tmp_path: Path, broken: tuple[str, ...]
) -> None:
    env = depot.layer("env", environment(tmp_path / "loaded", *broken))

    with pytest.raises(Unsuitable, match=f"{len(broken)} modules do not load"):
        unpacked(host, depot, depot.release(env=env))
    assert host.completion("env", env) is None
    assert not host.layer("env", env).exists()
