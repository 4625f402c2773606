"""Whether an environment's own Python starts from where it was unpacked, and loads its modules."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from envpack.node.crew import side_by_side
from envpack.node.errors import Unsuitable
from envpack.node.model import Manifest
from envpack.node.process import run

#: In the environment of a Python that is only tried: one whose run was killed ends by itself.
MARK = "PACKSHOT_SELF_CHECK"
_SECONDS = 300.0  # a cold disk reads gigabytes first
#: Takes longer to load than all the others: they load beside it.
_SLOW = "torch"
#: Prints its prefix, then each module that does not load and why; torch must compute too.
_PROBE = """
import gc, importlib, json, os, sys
gc.disable()  # a fifth of the time that loading takes
sys.path[:0] = sys.argv[2:]
failed = {}
names = json.loads(sys.argv[1])
for name in names:
    try:
        importlib.import_module(name)
    except BaseException as fault:
        failed[name] = f"{type(fault).__name__}: {fault}"[:300]
if "torch" in names and "torch" not in failed:
    torch = sys.modules["torch"]
    one = torch.eye(64)
    if not torch.equal(one @ one, one):
        failed["torch"] = "computes wrongly"
print()  # whatever a module has left of a line
print(json.dumps([sys.prefix, failed]), flush=True)
os._exit(0)  # taking torch down again costs half as long as loading it
"""


def check(tree: Path, manifest: Manifest) -> None:
    """By the modules that hold compiled code: only they depend on the host.  What is Python alone
    loads wherever these bytes are; ``packshot-env check`` loads it all the same.

    Nothing to do for a layer without a Python.  Raises ``Unsuitable``.
    """
    if not has_python(manifest):
        return
    failed: dict[str, str] = {}

    def try_out(names: list[str]) -> None:
        failed.update(failed_imports(tree, names))

    groups = _groups(_compiled(manifest))
    side_by_side([partial(try_out, names) for names in groups], len(groups))
    if failed:
        name, why = next(iter(failed.items()))
        raise Unsuitable(f"{tree.name[:12]}: {len(failed)} modules do not load, {name}: {why}")


def has_python(manifest: Manifest) -> bool:
    paths = {record.path for record in manifest.files} | {one.path for one in manifest.links}
    return "bin/python" in paths


def _compiled(manifest: Manifest) -> list[str]:
    """Of ``imports``, those with a shared library in their folder or in one beside it
    (``psycopg``: ``psycopg_binary``).
    """
    folders = {
        record.path.partition("/site-packages/")[2].partition("/")[0]
        for record in manifest.files
        if record.path.endswith(".so")
    }
    names: list[str] = manifest.facts.get("imports", [])
    return [name for name in names if any(one.startswith(name) for one in folders)]


def _groups(names: list[str]) -> list[list[str]]:
    """Each for a process of its own; one at least, since Python itself must start."""
    slow = [name for name in names if name == _SLOW]
    others = [name for name in names if name != _SLOW]
    return [group for group in (slow, others) if group] or [[]]


def failed_imports(tree: Path, names: list[str], *applications: Path) -> dict[str, str]:
    """Module and reason; looked for in ``applications`` too.

    Raises ``Unsuitable`` if Python itself does not start from ``tree``.
    """
    python = str(tree / "bin" / "python")
    command = [python, "-I", "-B", "-c", _PROBE, json.dumps(names), *map(str, applications)]
    ended = run(command, _SECONDS, {MARK: "1"})
    if ended.code:
        raise Unsuitable(f"{python}: does not start: {ended.last_line}")
    try:
        prefix, failed = json.loads(ended.out.splitlines()[-1])
    except (IndexError, ValueError) as fault:
        loaded = ", ".join(names) or "nothing"
        raise Unsuitable(f"{python}: ended while it loaded {loaded}: {ended.last_line}") from fault
    if prefix != str(tree):
        raise Unsuitable(f"{python}: believes to be in {prefix}: packshot-env unpack --again")
    return dict(failed)
