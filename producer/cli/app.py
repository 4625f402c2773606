"""What all commands share: the way to a client, and how they answer."""

from __future__ import annotations

import getpass
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import click

from producer.bootstrap import Initialised, connect, init
from producer.cli.entries import Entry
from producer.cli.exits import exit_code, summary, suspects, tell_errors
from producer.cli.tables import echo_json, entry_json, show_entries
from producer.client import Client


def _is_asked_by_a_person() -> bool:
    return sys.stdin.isatty()


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


@dataclass(kw_only=True)
class App:
    """Made once per call of the program; tests hand in their own."""

    connect: Callable[[], Client] = connect
    init: Callable[[], Initialised] = init
    pause: Callable[[float], None] = _pause
    can_ask: Callable[[], bool] = _is_asked_by_a_person
    as_json: bool = False
    debug: bool = False

    def answer(
        self, entries: Sequence[Entry], *, waited: bool = False, silent: bool = False
    ) -> None:
        """Tell what became of each entry, and end with the exit code of the first failure.

        ``silent`` leaves standard output to something else.
        """
        if self.as_json:
            for entry in entries:
                echo_json(entry_json(entry))
        else:
            if not silent:
                show_entries(entries)
            tell_errors(entries)
            self.say(summary(entries, waited=waited))
            self.say(suspects(entries) if waited else "")
        if code := exit_code(entries, waited=waited):
            click.get_current_context().exit(code)

    def say(self, text: str) -> None:
        """Something for people, beside the answer."""
        if text and not self.as_json:
            click.echo(f"packshot: {text}", err=True)


def stdin() -> BinaryIO:
    return sys.stdin.buffer


def stdout() -> BinaryIO:
    return sys.stdout.buffer


def who() -> str:
    """Under which name the audit remembers a caller of the command line."""
    with suppress(OSError, KeyError, ImportError):
        return f"cli/{getpass.getuser()}"
    return "cli"
