"""The commands of ``packshot``: submit, ask, wait, watch, cancel; thin over the library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Unpack

import click

from jobs.durations import brief
from jobs.ledger import JobFilter, Place
from jobs.states import JobState
from producer.cli import (
    exits,
    following,
    manifest,
    options,
    release_report,
    replaying,
    report,
    saving,
    submission,
    tables,
    watching,
)
from producer.cli.app import App, stdin, stdout, who
from producer.cli.entries import Entry, asked, entry_of, spelled
from producer.cli.group import Commands, quieten
from producer.client import Client
from producer.views import starts_in


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=exits.epilog(),
)
@click.option("--debug", is_flag=True, envvar="PACKSHOT_DEBUG", help="Logs and tracebacks.")
@click.version_option(package_name="packshot")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """Edit product photographs by instruction, in bulk and durably.

    \b
    packshot submit mug.jpg -i "make the mug red" -o red.png
    packshot submit shots/ -i "把背景换成纯白色" --batch spring
    packshot wait --batch spring -o results/

    Where the services are is told by PACKSHOT_DATABASE_URL, PACKSHOT_REDIS_URL and
    PACKSHOT_S3_URL, or by a file of them that PACKSHOT_ENV_FILE names.
    """
    ctx.ensure_object(App).debug = debug
    quieten(debug=debug)


@cli.command(epilog=manifest.__doc__)
@click.argument("photos", metavar="[PHOTO]...", nargs=-1)
@options.submit
@options.as_json
@click.pass_obj
def submit(app: App, **asked_for: Unpack[submission.Options]) -> None:
    """Submit photographs: each PHOTO is a job.

    A PHOTO is a file, a folder (all pictures in it), or - for standard input.  The same
    photograph with the same instruction is the same job, so running this again is free.

    \b
    packshot submit mug.jpg -i "make the mug red" --wait -o red.png
    packshot submit shots/ -i "white background" -o results/
    packshot submit model.jpg --with hoodie.png -i "dress her in this hoodie"
    packshot submit --manifest spring.csv --priority bulk --json
    """
    submission.check(asked_for, as_json=app.as_json)
    base = submission.template(asked_for)
    entries = submission.gather(asked_for, base, stdin)
    out = submission.destination(asked_for, entries)
    app.say(submission.kept(entries, base))
    waited = asked_for["wait"] or out is not None
    with app.connect() as client:
        submission.submit(client, entries)
        app.say(submission.hint(entries, base.batch))
        app.say(following.unserved(client, entries))
        if waited:
            _follow(client, entries, out=out)
    app.answer(entries, waited=waited, silent=out is not None and out.path is None)


@cli.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@options.as_json
@click.pass_obj
def status(app: App, ids: tuple[str, ...]) -> None:
    """Show jobs as they are now.

    \b
    packshot status 0193a5c2-7c1e-7d5e-9a51-3f0f1f0c2b11
    packshot list --failed | packshot status - --json
    """
    names = spelled(ids, stdin)
    with app.connect() as client:
        entries = asked(names, client.status)
        if len(entries) == 1 and entries[0].job and not app.as_json:
            tables.show_details(entries[0].job, _place_in_line(client, entries[0]))
            return
        app.say(following.unserved(client, entries))
    app.answer(entries)


@cli.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@options.batch
@click.option("--timeout", type=options.DURATION, help="Stop waiting after this: 30s, 10m, 2h.")
@options.out
@options.as_json
@click.pass_obj
def wait(
    app: App,
    ids: tuple[str, ...],
    batch: str | None,
    timeout: timedelta | None,
    out: str | None,
) -> None:
    """Wait until jobs are finished; save pictures with -o.

    In a batch, a job that was replayed is waited for by its replay.

    \b
    packshot wait --batch spring --timeout 2h -o results/
    """
    names = _named(ids, batch)
    where = saving.out_of(out, several=batch is not None or len(names) > 1)
    with app.connect() as client:
        entries = _found(client, names, batch)
        app.say(following.unserved(client, entries))
        _follow(client, entries, timeout=timeout, out=where)
    app.answer(entries, waited=True, silent=where is not None and where.path is None)


@cli.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@options.batch
@options.as_json
@click.pass_obj
def cancel(app: App, ids: tuple[str, ...], batch: str | None) -> None:
    """Withdraw jobs.  A running one stops within a step; a finished one stays as it is.

    \b
    packshot cancel --batch spring
    packshot list --state queued | packshot cancel -
    """
    names = _named(ids, batch)
    with app.connect() as client:
        if batch is not None:
            names = [str(job.id) for job in client.batch(batch) if not job.state.is_final]
            app.say("" if names else f"all jobs of batch {batch} are finished")
        entries = asked(names, lambda job: client.cancel(job, who=who()))
    app.answer(entries)


cli.add_command(replaying.replay)


@cli.command("list")
@click.option(
    "--state",
    type=click.Choice([one.value for one in JobState]),
    help="Only those in this state.",
)
@click.option("--failed", is_flag=True, help="The same as --state failed.")
@click.option("--suspect", is_flag=True, help="Those whose picture a person should look at.")
@replaying.by_class
@replaying.by_code
@options.batch
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="At most so many.",
)
@options.as_json
@click.pass_obj
def list_jobs(  # noqa: PLR0913 - click hands each option over by name
    app: App,
    *,
    state: str | None,
    failed: bool,
    suspect: bool,
    failure_class: str | None,
    code: str | None,
    batch: str | None,
    limit: int,
) -> None:
    """List jobs, newest first.

    \b
    packshot list --failed --limit 20
    packshot list --failed --class transient --code run_limit
    packshot list --suspect --batch spring
    packshot list --batch spring --json | jq .metadata.sku
    """
    wanted = JobState.FAILED if failed else JobState(state) if state else None
    with app.connect() as client:
        where = JobFilter(
            tenant=client.tenant,
            state=wanted,
            batch=batch,
            suspect=suspect,
            failure_class=replaying.wanted_class(failure_class),
            code=code,
        )
        entries = [entry_of(job) for job in client.list(where, limit=limit)]
    app.answer(entries)


@cli.command()
@options.batch
@click.option("--once", is_flag=True, help="One look instead of a live one.")
@options.as_json
@click.pass_obj
def watch(app: App, *, batch: str | None, once: bool) -> None:
    """Watch jobs live, until the batch is finished or Ctrl-C.

    Into a pipe it writes a line whenever something has changed.

    \b
    packshot watch --batch spring
    packshot watch --once --json
    """
    with app.connect() as client:
        seen = watching.snapshots(client, batch, app.pause)
        watching.show(iter([next(seen)]) if once else seen, as_json=app.as_json)


@cli.command()
@click.argument("job", metavar="ID")
@options.out
@options.as_json
@click.pass_obj
def result(app: App, job: str, out: str | None) -> None:
    """Save the picture of a job with -o, or print a link to it.

    Anybody may follow the link, for an hour.

    \b
    packshot result 0193a5c2-7c1e-7d5e-9a51-3f0f1f0c2b11 -o red.png
    """
    where = saving.out_of(out, several=False)
    with app.connect() as client:
        entry = entry_of(client.status(job))
        if where is None:
            _show_link(app, client, entry)
            return
        (entry.file,) = where.places([entry])
        saving.write(client.result(job), entry.file, stdout)
    app.answer([entry], silent=where.path is None)


@cli.command()
@click.argument("job", metavar="ID")
@options.as_json
@click.pass_obj
def history(app: App, job: str) -> None:
    """Show every move of a job.

    When, from which state to which, in which attempt, by whom and why.

    \b
    packshot history 0193a5c2-7c1e-7d5e-9a51-3f0f1f0c2b11
    """
    with app.connect() as client:
        moves = client.history(job)
    if not app.as_json:
        tables.show_moves(moves)
        return
    for move in moves:
        tables.echo_json(tables.move_json(move))


@cli.command("report")
@options.batch
@options.by_release
@options.as_json
@click.pass_obj
def show_report(
    app: App, batch: str | None, by: str | None, **asked: Unpack[options.ByRelease]
) -> None:
    """Sum up jobs, or how each release does.

    States, failures by class, suspect pictures by reason, times; of a batch, or of the newest 1,000
    jobs.  By release: what each release's attempts came to, for packshot-env judge.

    \b
    packshot report --batch spring
    packshot report --by release --baseline OLD --json | packshot-env judge - --canary NEW
    """
    if batch is not None and by:
        raise click.UsageError("--batch and --by do not go together: releases are not of a batch.")
    with app.connect() as client:
        if by:
            releases = release_report.by_release(client, **asked)
            tables.echo_json(releases.as_json()) if app.as_json else release_report.show(releases)
            return
        found = report.report(client, batch)
    tables.echo_json(found.as_json()) if app.as_json else report.show(found)


@cli.command("init")
@options.as_json
@click.pass_obj
def initialise(app: App) -> None:
    """Make schema and bucket, or bring them up to date.

    Safe to run anywhere and any number of times.

    \b
    packshot init
    """
    made = app.init()
    if app.as_json:
        tables.echo_json({"revision": made.revision, "ledger": made.ledger, "bucket": made.bucket})
        return
    click.echo(f"ledger  {made.ledger}  schema {made.revision}")
    click.echo(f"bucket  {made.bucket}")


def _named(ids: Sequence[str], batch: str | None) -> list[str]:
    if bool(ids) == (batch is not None):
        raise click.UsageError("Name jobs by their ids ('-' reads them from a pipe), or --batch.")
    return spelled(ids, stdin)


def _found(client: Client, names: Sequence[str], batch: str | None) -> list[Entry]:
    if batch is None:
        return asked(names, client.status)
    return [entry_of(job) for job in client.batch(batch)]


def _follow(
    client: Client,
    entries: Sequence[Entry],
    *,
    timeout: timedelta | None = None,
    out: saving.Out | None,
) -> None:
    saver = following.Saver(client, out, entries, stdout) if out else None
    following.follow(client, entries, timeout=timeout, saver=saver)


def _place_in_line(client: Client, entry: Entry) -> Mapping[str, str]:
    place = client.place(entry.name)
    if place is None:
        return {}
    return {
        "in its queue": f"{place.before:,} before it",
        "starts": _start(place),
        "note": following.unserved(client, [entry]),
    }


def _start(place: Place) -> str:
    seconds = starts_in(place)
    if seconds is None:
        return ""
    return f"in about {brief(timedelta(seconds=seconds))}" if seconds else "now"


def _show_link(app: App, client: Client, entry: Entry) -> None:
    assert entry.job is not None, "made of a job"
    link = client.link(entry.job)
    if app.as_json:
        tables.echo_json({**tables.entry_json(entry), "link": link})
    else:
        click.echo(link)
