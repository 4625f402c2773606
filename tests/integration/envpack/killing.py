"""The host's one file in a process that kills itself at a given change of the disk."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

#: Counts what changes the disk, as Python's own audit tells it, and kills before the n-th change;
#: or the renames alone, where libc has none that exchanges two names (glibc before 2.28).
_KILLER = """
import os, runpy, signal, sys
left, old_libc = int(sys.argv[1]), sys.argv[2] == "old libc"
changes = {"os.rename", "os.remove", "os.symlink", "os.mkdir", "os.rmdir", "os.chmod", "os.link"}
counted = {"os.rename"} if old_libc else {*changes, "open"}
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def hook(event, arguments):
    global left
    if old_libc and event == "ctypes.dlsym" and arguments[1] == "renameat2":
        raise AttributeError("renameat2: not found")
    if event in counted and (event != "open" or (arguments[2] or 0) & writing):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.argv = sys.argv[3:]
sys.addaudithook(hook)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def killed_before_change(number: int, node: Path, words: Sequence[str], libc: str = "libc") -> bool:
    """Whether it came so far; else it has ended, and well."""
    command = [sys.executable, "-B", "-c", _KILLER, str(number), libc, str(node), *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode in {-signal.SIGKILL, 0}, ended.stderr
    return ended.returncode != 0


def killed_before_each_change(
    node: Path,
    words: Callable[[], Sequence[str]],
    check: Callable[[], None],
    every: int = 1,
    libc: str = "libc",
) -> int:
    """Runs a command, killed ever later, until it ends by itself; how often it was killed.

    ``words`` prepares each run, ``check`` looks at what it has left.  ``libc``: an ``old libc``
    cannot exchange two names, and only renames count.
    """
    number = 1
    while killed_before_change(number, node, words(), libc):
        check()
        number += every
    return number // every
