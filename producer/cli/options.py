"""Options that several commands share, and the many of ``submit``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

import click

from jobs.durations import duration
from jobs.errors import InvalidRequest
from jobs.model import MAX_FAILURES, OutputFormat, Priority
from producer.cli.app import App

Command = TypeVar("Command", bound=Callable[..., Any])


class Pair(click.ParamType[tuple[str, str]]):
    name = "name=value"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        name, equals, text = str(value).partition("=")
        if not name.strip() or not equals:
            self.fail(f"{str(value)[:80]!r} is not of the form NAME=VALUE", param, ctx)
        return name.strip(), text


class Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return duration(str(value))
        except InvalidRequest as error:
            self.fail(str(error), param, ctx)


DURATION: Final = Duration()


def _set_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001
    del param
    if value:
        ctx.ensure_object(App).as_json = True


#: On every command.  Eager, so that errors of the others know of it.
as_json: Final = click.option(
    "--json",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_json,
    help="Answer in JSON, one object a line.",
)
batch: Final = click.option("--batch", metavar="NAME", help="The jobs of this batch.")
out: Final = click.option(
    "-o",
    "--out",
    metavar="OUT",
    help="Save pictures: a file for one job, a folder for several, - for standard output.",
)

_SUBMIT: Final = (
    click.option(
        "-i", "--instruction", metavar="TEXT", help="What to change, in English or Chinese."
    ),
    click.option(
        "--with",
        "references",
        metavar="REF",
        multiple=True,
        help="A reference picture beside each photograph; at most two.",
    ),
    click.option(
        "--manifest",
        metavar="FILE",
        help="CSV or JSON Lines: image,image2,image3,instruction,sku,… ; - for standard input.",
    ),
    click.option("--recursive", is_flag=True, help="Look into folders inside folders."),
    click.option("--wait", is_flag=True, help="Wait until all jobs are finished."),
    out,
    click.option("--model", metavar="NAME", help="Default: PACKSHOT_MODEL."),
    click.option("--profile", metavar="NAME", help="Default: PACKSHOT_PROFILE."),
    click.option("--seed", type=int, help="Default: derived from the content."),
    click.option("--steps", type=int, help="Denoising steps; default: the profile's."),
    click.option("--cfg", type=float, help="True CFG scale; default: the profile's."),
    click.option("--negative", metavar="TEXT", help="What must not appear."),
    click.option(
        "--size",
        default="auto",
        show_default=True,
        help="auto (the model's area), source, or WIDTHxHEIGHT.",
    ),
    click.option(
        "--format",
        type=click.Choice([one.value for one in OutputFormat]),
        help="Default: what -o FILE is named, else png.",
    ),
    click.option("--quality", type=int, help="1 to 100, of JPEG and WebP; default: 95."),
    click.option("--alpha", is_flag=True, help="Keep the photograph's transparency."),
    click.option(
        "--priority",
        type=click.Choice([one.name.lower() for one in Priority]),
        default="normal",
        show_default=True,
        help="Which jobs start first.",
    ),
    click.option("--batch", metavar="NAME", help="Name the batch; default: a fresh name."),
    click.option("--key", metavar="KEY", help="Idempotency key, for one photograph."),
    click.option("--again", is_flag=True, help="Make the same edit as a job of its own."),
    click.option(
        "--metadata",
        type=Pair(),
        multiple=True,
        metavar="NAME=VALUE",
        help="Kept with the job and shown with it; may be repeated.",
    ),
    click.option(
        "--max-failures",
        type=int,
        default=MAX_FAILURES,
        show_default=True,
        help="Attempts that may end badly.",
    ),
    click.option("--start-within", type=DURATION, help="Give up if not started by then."),
    click.option("--run-limit", type=DURATION, help="An attempt may run this long."),
    click.option("--keep-for", type=DURATION, help="Keep the result this long."),
    click.option("--wait-for-model", is_flag=True, help="Accept a model nobody serves yet."),
)


def submit(command: Command) -> Command:
    return _with(_SUBMIT, command)


class ByRelease(TypedDict):
    """As ``producer.cli.release_report.by_release`` takes it."""

    within: timedelta
    baseline: str | None
    golden: Path | None


_BY_RELEASE: Final = (
    click.option("--by", type=click.Choice(["release"]), help="One line per release."),
    click.option(
        "--within",
        type=DURATION,
        default="24h",
        show_default=True,
        help="By release: attempts that ended in this time.",
    ),
    click.option(
        "--baseline",
        metavar="DIGEST",
        help="By release: what the others are compared with; default: the one that ran most.",
    ),
    click.option(
        "--golden",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="FOLDER",
        help="By release: reference pictures, NAME.png; default: those of the baseline.",
    ),
)


def by_release(command: Command) -> Command:
    return _with(_BY_RELEASE, command)


def _with(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
