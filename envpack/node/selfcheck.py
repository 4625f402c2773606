"""Whether an environment's own Python starts from where it was unpacked, and loads its modules."""

from __future__ import annotations

import json
from pathlib import Path

from envpack.node.errors import Unsuitable
from envpack.node.model import Manifest
from envpack.node.process import run

_SECONDS = 300.0  # a cold disk reads gigabytes first
#: Prints its prefix, then each module that does not load and why.
_PROBE = """
import importlib, json, sys
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except BaseException as fault:
        failed[name] = f"{type(fault).__name__}: {fault}"[:300]
print(json.dumps([sys.prefix, failed]))
"""


def check(tree: Path, manifest: Manifest) -> None:
    """Nothing to do for a layer without a Python.  Raises ``Unsuitable``."""
    if not has_python(manifest):
        return
    failed = failed_imports(tree, manifest.facts.get("imports", []))
    if failed:
        name, why = next(iter(failed.items()))
        raise Unsuitable(f"{tree.name[:12]}: {len(failed)} modules do not load, {name}: {why}")


def has_python(manifest: Manifest) -> bool:
    paths = {record.path for record in manifest.files} | {one.path for one in manifest.links}
    return "bin/python" in paths


def failed_imports(tree: Path, names: list[str]) -> dict[str, str]:
    """Module and reason.  Raises ``Unsuitable`` if Python itself does not start from ``tree``."""
    python = str(tree / "bin" / "python")
    ended = run([python, "-I", "-B", "-c", _PROBE, json.dumps(names)], _SECONDS)
    if ended.code:
        raise Unsuitable(f"{python}: does not start: {ended.last_line}")
    prefix, failed = json.loads(ended.out.strip().splitlines()[-1])
    if prefix != str(tree):
        raise Unsuitable(f"{python}: believes to be in {prefix}: unpack it again")
    return dict(failed)
