"""How ``packshot`` starts, and how it ends where it is interrupted before it has begun."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from producer.cli.codes import INTERRUPTED


def main() -> None:
    try:
        # Some tenths of a second, in which a person may think better of it.
        from producer.cli.app import App  # noqa: PLC0415
        from producer.cli.commands import cli  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.stderr.write("packshot: interrupted\n")
        raise SystemExit(INTERRUPTED) from None
    # A name that the terminal's encoding lacks must not end the command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli.main(prog_name="packshot", obj=App())
