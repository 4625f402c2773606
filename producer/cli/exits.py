"""How the command line ends: exit codes, and errors as lines for people or machines."""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import click

from jobs.errors import JobsError, Unavailable
from jobs.states import JobState
from producer.cli.codes import FAULT, INTERRUPTED, JOB_FAILED, READ_NO_MORE
from producer.cli.entries import Entry, printable
from producer.views import error_json

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "all is well",
    FAULT: "a fault of Packshot's own",
    2: "the request cannot be accepted: options, picture, instruction",
    3: "settings are missing or wrong, or an extra is not installed",
    4: "no such job, batch or picture",
    5: "the key belongs to a job that asks for something else",
    6: "Postgres, Redis or S3 does not answer",
    7: "no worker offers this model or profile",
    8: "the job has no picture to give",
    9: "the wait ended before the job did; the job goes on",
    JOB_FAILED: "a job that was waited for failed or was cancelled",
    INTERRUPTED: "Ctrl-C; jobs that were accepted go on",
    READ_NO_MORE: "the answer was not read to its end, as by 'head'",
}

_ENDED_BADLY: Final = {JobState.FAILED, JobState.CANCELLED}


def epilog() -> str:
    """The table as the help prints it.  With several jobs, the first that went wrong decides."""
    lines = [f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items()]
    return "\b\nExit codes (with several jobs, that of the first that went wrong):\n" + "\n".join(
        lines
    )


def tell(error: JobsError, *, as_json: bool) -> None:
    """An error that ends the command, on standard error."""
    text = json.dumps(error_json(error)) if as_json else f"packshot: {printable(str(error))}"
    click.echo(text, err=True)


def tell_fault(fault: Exception, *, debug: bool) -> None:
    """What nobody foresaw."""
    if debug:
        click.echo("".join(traceback.format_exception(fault)), err=True, nl=False)
        return
    what = printable(f"{type(fault).__name__}: {fault}")
    click.echo(f"packshot: {what} (PACKSHOT_DEBUG=1 shows the traceback)", err=True)


def exit_code(entries: Sequence[Entry], *, waited: bool) -> int:
    """That of the first entry that went wrong."""
    for entry in entries:
        if entry.error is not None:
            return entry.error.exit_code
        if waited and entry.job is not None and entry.job.state in _ENDED_BADLY:
            return JOB_FAILED
    return 0


def tell_errors(entries: Sequence[Entry]) -> None:
    """A line per error; what is wrong with several is said once."""
    alike: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.error is not None:
            alike.setdefault(printable(str(entry.error)), []).append(entry)
    for message, those in alike.items():
        click.echo(f"packshot: {_line(message, those, of=len(entries))}", err=True)


def _line(message: str, those: Sequence[Entry], *, of: int) -> str:
    if len(those) > 1:
        if len(those) == of and not those[0].where:
            return message
        names = [printable(one.label) or one.where for one in those[:3]]
        more = ["…"] if len(those) > len(names) else []
        return f"{message} ({len(those)} of {of}: {', '.join([*names, *more])})"
    (entry,) = those
    name = printable(entry.label)
    if isinstance(entry.error, Unavailable):
        return message  # not this photograph's doing
    is_named = name in message or (entry.noun == "id" and entry.job is None)
    return ": ".join(part for part in (entry.where, "" if is_named else name, message) if part)


def summary(entries: Sequence[Entry], *, waited: bool) -> str:
    """``2 of 5 not accepted, 1 failed``; empty where one line has said it all."""
    counts = Counter(_verdict(entry, waited=waited) for entry in entries)
    counts.pop("", None)
    said_once = len({entry.error and str(entry.error) for entry in entries}) == 1
    if not counts or len(entries) == 1 or (said_once and entries[0].error):
        return ""
    first, *others = [f"{count} {what}" for what, count in counts.items()]
    number, what = first.split(" ", 1)
    return ", ".join([f"{number} of {len(entries)} {what}", *others])


def suspects(entries: Sequence[Entry]) -> str:
    """Which of the pictures a person should look at; empty if none."""
    found = [
        (entry.job.id, entry.job.result.suspect.code)
        for entry in entries
        if entry.job and entry.job.result and entry.job.result.suspect
    ]
    if not found:
        return ""
    count, reasons = len(dict(found)), ", ".join(dict.fromkeys(code for _, code in found))
    those = "1 picture looks" if count == 1 else f"{count:,} pictures look"
    return f"{those} wrong ({reasons}); to see which: packshot list --suspect"


def _verdict(entry: Entry, *, waited: bool) -> str:
    job = entry.job
    if job is None:
        return "not accepted" if entry.noun == "image" else "refused"
    if entry.error is not None:
        return "without a picture" if job.state.is_final else "not finished"
    return job.state.value if waited and job.state in _ENDED_BADLY else ""
