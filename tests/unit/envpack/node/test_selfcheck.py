"""Before it is marked complete, an environment's own Python loads what holds compiled code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from envpack.node.errors import Unsuitable
from envpack.node.host import Host
from envpack.node.selfcheck import failed_imports
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


def test_what_a_module_prints_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    """Python itself, with a module that ends its own line nowhere."""
    (tmp_path / "chatty.py").write_text("print('loading', end='')\n")
    tree = Path(sys.prefix)

    assert failed_imports(tree, ["chatty", "nowhere"], tmp_path).keys() == {"nowhere"}


def test_a_python_that_gives_no_answer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gone.py").write_text("import os\nos._exit(0)\n")

    with pytest.raises(Unsuitable, match=r"bin/python: ended .*gone"):
        failed_imports(Path(sys.prefix), ["gone"], tmp_path)
