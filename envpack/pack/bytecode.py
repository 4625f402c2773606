"""Bytecode of all modules of a layer: the same bytes wherever and whenever it is made.

Compiled on a host, the first start of a worker would cost tens of seconds, and a read-only tree
would pay them again with each start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from envpack.pack import bytecode_worker
from envpack.pack.process import run
from envpack.pack.sources import Source


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
    jobs = [
        _Job.of(one, tag, scratch / f"{number}.pyc", installed)
        for number, one in enumerate(modules)
    ]
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        answers = pool.map(
            lambda share: _run_worker(interpreter, share),
            [jobs[first::workers] for first in range(workers)],
        )
        refused = {name for names in answers for name in names}
    made = [job.result for job in jobs if job.source.path not in refused]
    return Bytecode(files=tuple(made), refused=tuple(sorted(refused)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    source: Source
    target: Path
    result: Source
    made: Path | None

    @classmethod
    def of(cls, source: Source, tag: str, target: Path, installed: Path | None) -> _Job:
        folder, _, name = source.path.rpartition("/")
        path = f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc".removeprefix("/")
        return cls(
            source=source,
            target=target,
            result=Source(path=path, content=target),
            made=installed / path if installed else None,
        )


def _tag(interpreter: Path) -> str:
    code = "import sys; print(sys.implementation.cache_tag)"
    return run([interpreter, "-I", "-S", "-B", "-c", code]).stdout.strip()


def _run_worker(interpreter: Path, jobs: Sequence[_Job]) -> list[str]:
    script = Path(bytecode_worker.__file__)
    done = run([interpreter, "-I", "-S", "-B", script], stdin="".join(_lines(jobs)))
    refused: list[str] = json.loads(done.stdout)
    return refused


def _lines(jobs: Sequence[_Job]) -> Iterator[str]:
    for job in jobs:
        row = (job.source.content, job.source.path, job.target, job.made or "")
        yield json.dumps([str(one) for one in row]) + "\n"
