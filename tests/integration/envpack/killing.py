"""The host's one file in a process that kills itself at a given change of the disk."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

#: Counts what changes the disk, as Python's own audit tells it, and kills before the n-th change.
_KILLER = """
import os, runpy, signal, sys
left = int(sys.argv[1])
changes = {"os.rename", "os.remove", "os.symlink", "os.mkdir", "os.rmdir", "os.chmod", "os.link"}
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def hook(event, arguments):
    global left
    if event in changes or (event == "open" and (arguments[2] or 0) & writing):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.argv = sys.argv[2:]
sys.addaudithook(hook)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def killed_before_change(number: int, node: Path, words: Sequence[str]) -> bool:
    """Whether it came so far; else it has ended, and well."""
    command = [sys.executable, "-B", "-c", _KILLER, str(number), str(node), *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode in {-signal.SIGKILL, 0}, ended.stderr
    return ended.returncode != 0


def killed_before_each_change(
    node: Path, words: Callable[[], Sequence[str]], check: Callable[[], None], every: int = 1
) -> int:
    """Runs a command, killed ever later, until it ends by itself; how often it was killed.

    ``words`` prepares each run, ``check`` looks at what it has left.
    """
    number = 1
    while killed_before_change(number, node, words()):
        check()
        number += every
    return number // every
