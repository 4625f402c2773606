"""Bytecode of all modules of a layer: the same bytes wherever and whenever it is made.

Compiled on a host, the first start of a worker would cost tens of seconds, and a read-only tree
would pay them again with each start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from envpack.node.model import parsed
from envpack.pack import bytecode_worker
from envpack.pack.process import run
from envpack.pack.sources import Slice, Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Bytecode:
    files: tuple[Source, ...]
    refused: tuple[str, ...]  #: paths that are no Python of this interpreter: templates, mostly


def make_bytecode(
    interpreter: Path, sources: Sequence[Source], scratch: Path, installed: Path | None = None
) -> Bytecode:
    """Of every module among ``sources``, into ``scratch``, on all cores.

    ``installed``: the prefix, whose own bytecode is taken over where it belongs to its source.
    A module that holds a placeholder gets none: its text is not what will run.
    """
    tag = _tag(interpreter)
    modules = [one for one in sources if one.path.endswith(".py") and one.prefix is None]
    workers = os.cpu_count() or 1
    shares = [modules[first::workers] for first in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        answers = pool.map(
            lambda number: _compile(
                interpreter, shares[number], scratch / f"{number}.pycs", (tag, installed)
            ),
            range(workers),
        )
        made = [pair for answer in answers for pair in answer]
    return Bytecode(
        files=tuple(code for _, code in made if code is not None),
        refused=tuple(sorted(source.path for source, code in made if code is None)),
    )


def _tag(interpreter: Path) -> str:
    code = "import sys; print(sys.implementation.cache_tag)"
    return run([interpreter, "-I", "-S", "-B", "-c", code]).stdout.strip()


def _compile(
    interpreter: Path, share: Sequence[Source], target: Path, tagged: tuple[str, Path | None]
) -> list[tuple[Source, Source | None]]:
    """Each module with its bytecode, all of which lie in ``target``."""
    tag, installed = tagged
    paths = [_bytecode_path(module.path, tag) for module in share]
    lines = [
        json.dumps([str(module.content), module.path, str(installed / path) if installed else ""])
        for module, path in zip(share, paths, strict=True)
    ]
    script = Path(bytecode_worker.__file__)
    done = run([interpreter, "-I", "-S", "-B", script, target], stdin="\n".join(lines))
    offset, made = 0, []
    sizes = parsed(f"{interpreter}: its answer", done.stdout.encode())
    for module, path, size in zip(share, paths, sizes, strict=True):
        code = Source(path=path, content=Slice(target, offset, size)) if size else None
        made.append((module, code))
        offset += size
    return made


def _bytecode_path(path: str, tag: str) -> str:
    """As Python looks for it."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}__pycache__/{name.removesuffix('.py')}.{tag}.pyc"
