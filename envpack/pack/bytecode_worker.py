"""Makes bytecode inside the environment's own interpreter: its own, standalone script.

Reads JSON lines ``[source, name, made]`` and appends to one file, its argument, the bytecode of
each ``source``: it needs no time stamp (unchecked hash) and calls the source ``name``.  ``made``
is the bytecode that the installer left: where it belongs to the source, it is spared the compiler.
Prints the size of each, as JSON; 0 for what is no valid Python: a template, or of another age.
"""

from __future__ import annotations

import _imp
import importlib.util
import json
import marshal
import os
import sys
import warnings
from operator import is_
from types import CodeType
from typing import Any

_UNCHECKED = (0b01).to_bytes(4, "little")
_HEADER = 16  # bytes: magic, flags, then time and size, or a hash of the source


def _code_made(made: str, source: str, source_hash: bytes) -> bytes | None:
    """The marshalled code of ``made``, if Python itself would take it for this source."""
    try:
        with open(made, "rb") as file:  # noqa: PTH123 - thousands of small files
            data = file.read()
    except OSError:
        return None
    if data[:4] != importlib.util.MAGIC_NUMBER or len(data) <= _HEADER:
        return None
    if int.from_bytes(data[4:8], "little"):
        fits = data[8:16] == source_hash
    else:
        stat = os.stat(source)  # noqa: PTH116
        stamp = (int(stat.st_mtime) & 0xFFFFFFFF, stat.st_size & 0xFFFFFFFF)
        fits = stamp == (
            int.from_bytes(data[8:12], "little"),
            int.from_bytes(data[12:16], "little"),
        )
    return data[_HEADER:] if fits else None


def _with_one_of_each(code: CodeType, sets: dict[frozenset[tuple[str, str]], Any]) -> CodeType:
    """Equal sets of constants become one: whether the compiler merged them depends on which
    strings its process had seen before.
    """
    constants = list(code.co_consts)
    for place, one in enumerate(constants):
        if type(one) is CodeType:
            constants[place] = _with_one_of_each(one, sets)
        elif type(one) is frozenset:
            spelt = frozenset((type(item).__name__, repr(item)) for item in one)
            constants[place] = sets.setdefault(spelt, one)
    if all(map(is_, constants, code.co_consts)):
        return code
    return code.replace(co_consts=tuple(constants))


def _bytecode(source: str, name: str, made: str) -> bytes:
    with open(source, "rb") as file:  # noqa: PTH123
        text = file.read()
    source_hash = importlib.util.source_hash(text)
    marshalled = _code_made(made, source, source_hash)
    if marshalled is None:
        marshalled = marshal.dumps(compile(text, name, "exec", dont_inherit=True, optimize=0))
    # Loaded and written once more: what marshal writes depends on who else holds an object.
    code = marshal.loads(marshalled)  # noqa: S302 - the installer's own
    sets: dict[frozenset[tuple[str, str]], Any] = {}
    code = _with_one_of_each(code, sets)
    # Renamed in any case, even if it has this name: marshal must always see the same string.
    for one in ("-", name):
        _imp._fix_co_filename(code, one)  # type: ignore[attr-defined] # noqa: SLF001
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + source_hash + marshal.dumps(code)


def main() -> None:
    warnings.simplefilter("ignore")
    # Python has one object for each of these, and marshal tells whether any file interned it yet.
    for code in range(256):
        sys.intern(chr(code))
    sizes = []
    with open(sys.argv[1], "wb") as target:  # noqa: PTH123
        for line in sys.stdin:
            source, name, made = json.loads(line)
            try:
                sizes.append(target.write(_bytecode(source, name, made)))
            except (SyntaxError, ValueError, RecursionError):
                sizes.append(0)
    json.dump(sizes, sys.stdout)


if __name__ == "__main__":
    main()
