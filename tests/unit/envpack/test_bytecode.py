"""Bytecode of one form, whoever compiled it."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from envpack.pack.bytecode import Bytecode, make_bytecode
from envpack.pack.sources import Source


def module(tmp_path: Path, name: str, text: str) -> Source:
    (tmp_path / name).write_text(text)
    return Source(path=f"lib/{name}", content=tmp_path / name)


#: Its bytecode depends on what the process that compiles it has seen before, if one lets it.
TELLING = """
SIGN = "{"
def f(x):
    if x in {"red", "green"}: return 1
def g(x):
    for y in x:
        if y.op not in {"red", "green"}: return 2
"""


#: An installer: it knows these words, and says so in the bytecode that it leaves.
INSTALLER = """
import py_compile, sys
from pathlib import Path
known = sys.intern("{"), compile(Path(sys.argv[1]).read_text(), "x", "exec")
py_compile.compile(sys.argv[1], cfile=sys.argv[2], dfile=sys.argv[3])
"""


@pytest.mark.parametrize("text", [TELLING, "VALUE = 1\n"])
@pytest.mark.parametrize("name", ["/build/env/lib/x.py", "lib/x.py"])
def test_bytecode_of_an_installer_is_brought_into_the_form_that_we_compile(
    tmp_path: Path, name: str, text: str
) -> None:
    source = module(tmp_path, "x.py", text)
    tag = sys.implementation.cache_tag
    left = tmp_path / "prefix" / "lib" / "__pycache__" / f"x.{tag}.pyc"
    left.parent.mkdir(parents=True)
    assert isinstance(source.content, Path)
    subprocess.run([sys.executable, "-c", INSTALLER, source.content, left, name], check=True)

    python = Path(sys.executable)
    compiled = last_of(make_bytecode(python, [source], tmp_path))
    taken_over = last_of(make_bytecode(python, [source], tmp_path, tmp_path / "prefix"))
    others = [module(tmp_path, "y.py", "red = green = 1\n")] * (os.cpu_count() or 1)
    assert taken_over == compiled
    assert last_of(make_bytecode(python, [*others, source], tmp_path)) == compiled
    assert name.encode() in left.read_bytes()
    assert b"/build/env" not in compiled
    assert str(tmp_path).encode() not in compiled


def last_of(made: Bytecode) -> bytes:
    return next(source.read() for source in made.files if "/x." in source.path)


@pytest.mark.parametrize("mode", list(py_compile.PycInvalidationMode))
def test_bytecode_of_another_source_is_not_taken_over(
    tmp_path: Path, mode: py_compile.PycInvalidationMode
) -> None:
    source = module(tmp_path, "x.py", "VALUE = 1\n")
    tag = sys.implementation.cache_tag
    left = tmp_path / "prefix" / "lib" / "__pycache__" / f"x.{tag}.pyc"
    left.parent.mkdir(parents=True)
    stale = module(tmp_path, "old.py", "VALUE = 'an older one'\n")
    assert isinstance(stale.content, Path)
    py_compile.compile(str(stale.content), cfile=str(left), invalidation_mode=mode)

    made = make_bytecode(Path(sys.executable), [source], tmp_path, tmp_path / "prefix")

    assert b"an older one" not in made.files[0].read()


def test_a_template_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    sources = [module(tmp_path, "good.py", "x = 1\n"), module(tmp_path, "bad.py", "{{ name }} =")]

    made = make_bytecode(Path(sys.executable), sources, tmp_path)

    assert made.refused == ("lib/bad.py",)
    assert len(made.files) == 1
