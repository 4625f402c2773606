"""``packshot replay``: dead letters get a second life, one by one or by the reason they failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypedDict, Unpack

import click

from jobs.errors import FailureClass, InvalidRequest, JobsError
from jobs.ids import job_id
from jobs.ledger import JobFilter, Submitted
from jobs.model import JobId
from jobs.states import JobState
from producer.cli import options
from producer.cli.app import App, stdin, who
from producer.cli.entries import Entry, spelled
from producer.client import Client

by_class: Final = click.option(
    "--class",
    "failure_class",
    type=click.Choice([one.value for one in FailureClass]),
    help="Only those whose latest failure is of this class.",
)
by_code: Final = click.option("--code", metavar="CODE", help="Only those of this error code.")


class Reasons(TypedDict):
    """What names many dead letters at once."""

    failed: bool
    batch: str | None
    failure_class: str | None
    code: str | None


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--failed", is_flag=True, help="All that failed and were not replayed yet.")
@by_class
@by_code
@options.batch
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.as_json
@click.pass_obj
def replay(app: App, ids: tuple[str, ...], *, yes: bool, **reasons: Unpack[Reasons]) -> None:
    """Run failed or cancelled jobs again, as new jobs.

    A new job has the same request and takes the key over; the old one stays as it ended.
    Replaying twice makes one new job.  --failed tells how many there are and asks first.

    \b
    packshot replay 0193a5c2-7c1e-7d5e-9a51-3f0f1f0c2b11
    packshot replay --failed --class lost --batch spring
    packshot replay --failed --code card_hung --yes --json
    """
    _check(ids, reasons)
    with app.connect() as client:
        if reasons["failed"]:
            wanted = _dead(client, reasons)
            if not _agreed(app, len(wanted), yes=yes):
                return
            entries = [Entry(name=str(one), noun="id") for one in wanted]
        else:
            entries = [Entry(name=text, noun="id") for text in spelled(ids, stdin)]
        _replay(client, entries)
    app.answer(entries)


def wanted_class(name: str | None) -> FailureClass | None:
    return FailureClass(name) if name else None


def _check(ids: Sequence[str], reasons: Reasons) -> None:
    if bool(ids) == reasons["failed"]:
        raise click.UsageError("Name jobs by their ids ('-' reads them from a pipe), or --failed.")
    if ids and any((reasons["batch"], reasons["failure_class"], reasons["code"])):
        raise click.UsageError("--class, --code and --batch go with --failed.")


def _dead(client: Client, reasons: Reasons) -> list[JobId]:
    """Oldest first."""
    where = JobFilter(
        tenant=client.tenant,
        state=JobState.FAILED,
        batch=reasons["batch"],
        failure_class=wanted_class(reasons["failure_class"]),
        code=reasons["code"],
        holds_key=True,
    )
    return [job.id for job in client.all_of(where)][::-1]


def _agreed(app: App, count: int, *, yes: bool) -> bool:
    """Whether to go on.  Raises ``InvalidRequest`` where nobody can be asked."""
    what = "1 failed job" if count == 1 else f"{count:,} failed jobs"
    if not count or yes:
        app.say(f"{what} to replay")
        return bool(count)
    if app.as_json or not app.can_ask():
        raise InvalidRequest(f"{what} to replay; --yes does it")
    return click.confirm(f"packshot: replay {what}?", err=True)


def _replay(client: Client, entries: Sequence[Entry]) -> None:
    known: list[Entry] = []
    for entry in entries:
        try:
            job_id(entry.name)
        except JobsError as error:
            entry.error = error
        else:
            known.append(entry)
    outcomes = client.replay([job_id(entry.name) for entry in known], who=who())
    for entry, outcome in zip(known, outcomes, strict=True):
        if isinstance(outcome, Submitted):
            entry.job, entry.created = outcome.job, outcome.created
        else:
            entry.error = outcome
