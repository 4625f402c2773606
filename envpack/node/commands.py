"""Tables of commands, and the one way in which all of them answer.

A module of commands has a table ``COMMANDS``: the words of a command (``"model pull"``) and a
``Command``.  ``packshot-env`` joins the tables of both sides; the host's one file has its own.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, NamedTuple

from envpack.node.errors import EnvpackError, NotThere

_INTERRUPTED = 130  # as a shell says of SIGINT
_READ_NO_MORE = 141  # as of a program that SIGPIPE ended
_DISK = 74  # EX_IOERR
_ROOM = "free some space and run it again"
_OTHER_USER = "run it as a user who may, or name another place"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _OTHER_USER,
    errno.EPERM: _OTHER_USER,
    errno.EROFS: "name a place that can be written to",
    errno.EIO: "the disk is failing: name another place",
}


class Answer(NamedTuple):
    """What a command found: ``text`` for a person, ``value`` (any JSON) for ``--json``."""

    text: str
    value: Any
    exit_code: int = 0


class Command(NamedTuple):
    """``run`` raises ``EnvpackError``; progress, if any, goes to stderr."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Answer]


def main(program: str, about: str, commands: Mapping[str, Command], argv: Sequence[str]) -> int:
    """Run one command of a table; the exit code.  A fault is one line on stderr."""
    arguments = _parser(program, about, commands).parse_args(argv)
    command: Command = arguments.command
    try:
        with _usual_modes():
            answer = command.run(arguments)
        said = answer.value if arguments.json else answer.text
        unread = 0 if _was_read(said, as_json=arguments.json) else _READ_NO_MORE
    except EnvpackError as fault:
        return _failed(program, str(fault), fault.exit_code, arguments.json)
    except BrokenPipeError:  # of a sign of life on stderr
        return _READ_NO_MORE
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as fault:
        return _failed(program, _said(fault), NotThere.exit_code, arguments.json)
    except OSError as fault:
        return _failed(program, _said(fault), _DISK, arguments.json)
    except KeyboardInterrupt:
        return _failed(program, "interrupted; run it again to go on", _INTERRUPTED, arguments.json)
    return answer.exit_code or unread


def named_path(text: str) -> Path:
    """Of an option.  Empty, as of a variable that a pipeline has not set, it would be the folder
    that one stands in.
    """
    if not text:
        raise argparse.ArgumentTypeError("is empty: name a file or a folder")
    return Path(text)


@contextmanager
def _usual_modes() -> Iterator[None]:
    """A depot and a root are for others to read, whatever the caller's umask; keys are not, and say
    so themselves.  Who else may write, the caller decides: a group may fill one depot.
    """
    before = os.umask(0o022)
    os.umask(before & 0o022)
    try:
        yield
    finally:
        os.umask(before)


def _parser(program: str, about: str, commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=about)
    top = parser.add_subparsers(metavar="COMMAND", required=True)
    groups: dict[str, Any] = {}
    for words, command in commands.items():
        *group, name = words.split()
        if group and group[0] not in groups:
            members = [other for other in commands if other.startswith(f"{group[0]} ")]
            joined = ", ".join(other.split()[1] for other in members)
            below = top.add_parser(group[0], help=joined, description=joined)
            groups[group[0]] = below.add_subparsers(metavar="COMMAND", required=True)
        place = groups[group[0]] if group else top
        one = place.add_parser(name, help=command.help, description=command.help)
        command.add_arguments(one)
        one.add_argument("--json", action="store_true", help="answer in JSON")
        one.set_defaults(command=command)
    return parser


def _was_read(answer: Any, *, as_json: bool) -> bool:  # noqa: ANN401 - any JSON
    """Says it; whether anybody read it to its end."""
    try:
        print(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else answer, flush=True)
    except BrokenPipeError:
        # Whoever read has seen enough; Python's own flush at exit must not complain of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _said(fault: OSError) -> str:
    # Of two names, such as a link's, the second is the one that could not be made.
    name = fault.filename2 or fault.filename
    said = f"{name}: {fault.strerror}" if name else str(fault)
    advice = _ADVICE.get(fault.errno or 0)
    return f"{said}: {advice}" if advice else said


def _failed(program: str, message: str, exit_code: int, as_json: bool) -> int:  # noqa: FBT001
    if as_json:
        _was_read({"error": message, "exit_code": exit_code}, as_json=True)
    print(f"{program}: {message}", file=sys.stderr)
    return exit_code
