"""``packshot-worker``: run one worker on one card, ask how it is, look for what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import click

from jobs import log
from jobs.errors import BadSettings, JobsError, Unavailable
from worker.pages import ask
from worker.settings import SUPERVISOR_PORT, WorkerSettings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Workers: one process, one card, one engine."""


@cli.command()
@click.option("--card", help="cpu:0, an index, or GPU-<uuid>.")
@click.option("--engine", type=click.Choice(["diffusers", "fake"]))
@click.option("--model", help="Name of the model to serve.")
@click.option("--model-dir", type=click.Path(path_type=Path), help="Folder of its weights.")
@click.option("--log-json", is_flag=True, default=None, help="Log JSON lines.")
def run(**options: object) -> None:
    """Load the engine, then work until SIGTERM.  Options go before PACKSHOT_… variables."""
    from worker.bootstrap import run as run_worker  # noqa: PLC0415 - "health" needs none of it

    settings = WorkerSettings.load()
    settings = settings.model_copy(update={k: v for k, v in options.items() if v is not None})
    # Under a supervisor, the lines of several cards are one stream.
    log.set_up(as_json=settings.log_json, always={"worker": settings.holder})
    code = run_worker(settings)
    # Celery's threads may still wait on a socket; nothing of ours is left to do.
    sys.stdout.flush()
    os._exit(code)


@cli.command()
@click.option(
    "--cards",
    default="all",
    show_default=True,
    help="all, or by comma: cpu:0, an index, GPU-<uuid>.",
)
@click.option(
    "--env",
    "environment",
    type=click.Path(path_type=Path),
    help="Unpacked environment of the workers; may be a link that is moved on, such as current.",
)
@click.option("--port", type=int, help="Of /metrics, /livez, /readyz, /status; 9870.")
@click.option("--log-json", is_flag=True, default=None, help="Log JSON lines.")
def supervise(
    cards: str, environment: Path | None, port: int | None, *, log_json: bool | None
) -> None:
    """Keep one worker running on each card, until SIGTERM.  SIGHUP reloads one card at a time."""
    from worker.supervisor.settings import SupervisorSettings  # noqa: PLC0415 - only if asked
    from worker.supervisor.start import supervise as start  # noqa: PLC0415 - loads SQLAlchemy

    given = {"supervisor_port": port, "log_json": log_json}
    settings = SupervisorSettings.load()
    settings = settings.model_copy(update={k: v for k, v in given.items() if v is not None})
    log.set_up(as_json=settings.log_json)
    sys.exit(start(settings, cards=cards, environment=environment))


@cli.command()
@click.option(
    "--port",
    type=int,
    envvar="PACKSHOT_SUPERVISOR_PORT",
    default=SUPERVISOR_PORT,
    show_default=True,
    help="Of the supervisor.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(port: int, *, as_json: bool) -> None:
    """Show this host's cards, as their supervisor sees them.

    Exit code 6 if there is none.
    """
    from worker.supervisor.table import show  # noqa: PLC0415 - only if asked

    try:
        found = ask(port, "/status")
    except Unavailable as error:
        raise Unavailable(
            f"no supervisor on this host, or on another port: {error}. Start one by"
            " packshot-worker supervise, or name its port by --port"
        ) from error
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(json.dumps(found) if as_json else show(found, width=width))


@cli.command()
@click.option("--port", type=int, help="PACKSHOT_HEALTH_PORT of the worker.")
@click.option("--ready", is_flag=True, help="Ask whether it is ready, not only alive.")
def health(port: int | None, *, ready: bool) -> None:
    """Ask a worker of this machine how it is.

    Exit code 6 if it is not well.
    """
    port = port or WorkerSettings.load().health_port
    if not port:
        raise BadSettings("PACKSHOT_HEALTH_PORT is not set: name the worker's port by --port")
    found = ask(port, "/readyz" if ready else "/livez")
    print(json.dumps(found))
    if not found.get("ok"):
        sys.exit(Unavailable.exit_code)


@cli.command()
@click.option("--deep", is_flag=True, help="Load the model and run it once, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def doctor(*, deep: bool, as_json: bool) -> None:
    """Look at all that a worker needs; say what to do.

    Exit codes: 0 with at most warnings, 3 for settings and this machine, 6 for a server.
    """
    from worker.doctor.findings import exit_code, show  # noqa: PLC0415 - "run" needs none of it
    from worker.doctor.table import examine  # noqa: PLC0415 - same

    rows = examine(deep=deep)
    print(show(rows, as_json=as_json))
    sys.exit(exit_code(rows))


@cli.command()
@click.option("--delete", is_flag=True, help="Remove it; else it is only counted.")
@click.option("--most", type=click.IntRange(1), default=10_000, show_default=True, help="Of each.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def sweep(*, delete: bool, most: int, as_json: bool) -> None:
    """Count what is kept no longer, or remove it.

    Results, jobs, inputs and objects; by PACKSHOT_KEEP_JOBS, PACKSHOT_KEEP_INPUTS and
    PACKSHOT_ORPHAN_AGE.
    """
    from worker import sweep as sweeping  # noqa: PLC0415 - "run" needs none of it

    found = sweeping.sweep(delete=delete, most=most)
    print(sweeping.show(found, deleted=delete, as_json=as_json))


def main() -> None:
    try:
        cli.main(standalone_mode=True)
    except JobsError as error:
        print(f"packshot-worker: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
